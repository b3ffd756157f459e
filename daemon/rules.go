package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"tcpmux/config"
	"tcpmux/daemon/admission"
)

// rulesFile is a file of rules that is looked at now and then. One goroutine uses it.
type rulesFile struct {
	path   string
	seen   fileState
	rules  config.Rules // those that hold
	faulty bool         // the file says something else, which cannot be followed
}

// fileState is by what a file that was replaced or changed is told from what it was.
type fileState struct {
	dev, ino         uint64
	size             int64
	changed, written syscall.Timespec
}

// rulesFiles are those in use, by their path.
type rulesFiles map[string]*rulesFile

// openRules reads the files that listeners name. One that is faulty is an error: nobody starts on rules other than those.
func openRules(cfg []config.Listener) (rulesFiles, error) {
	files := make(rulesFiles)
	for _, c := range cfg {
		if err := files.add(c.Limits.Rules); err != nil {
			return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
		}
	}
	return files, nil
}

// add reads a file, unless it was read already; "" names none.
func (files rulesFiles) add(path string) error {
	if path == "" || files[path] != nil {
		return nil
	}
	f := &rulesFile{path: path}
	if _, err := f.refresh(); err != nil {
		return err
	}
	files[path] = f
	return nil
}

// refresh reads the file if it is another than before, and says whether other rules hold now. On an error those that held hold on;
// the same error is not returned again.
func (f *rulesFile) refresh() (other bool, err error) {
	now, err := stateOf(f.path)
	if now == f.seen && (err == nil || f.faulty) {
		return false, nil
	}
	f.seen = now
	rules, err := config.LoadRules(f.path)
	if f.faulty = err != nil; f.faulty {
		return false, err
	}
	f.rules = rules
	return true, nil
}

// stateOf looks at a file; it is zero for one that is not there.
func stateOf(path string) (fileState, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fileState{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fileState{uint64(st.Dev), st.Ino, st.Size, st.Ctim, st.Mtim}, nil
}

// of is what a listener of that policy lets in by address: nobody while its file could not be read.
func (files rulesFiles) of(p config.Policy) *admission.Rules {
	f := files[p.Rules]
	switch {
	case p.Rules == "":
		return admission.NewRules(p.Allow, p.Deny)
	case f == nil:
		return admission.NewRules(nil, everybody)
	}
	return admission.NewRules(slices.Concat(p.Allow, f.rules.Allow), slices.Concat(p.Deny, f.rules.Deny))
}

// everybody are all addresses.
var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// keep adds those of old that lns still use: listeners that are no longer configured do until a restart.
func (files rulesFiles) keep(old rulesFiles, lns []*listener) {
	for _, ln := range lns {
		path := ln.settings.Load().Limits.Rules
		if files[path] == nil && old[path] != nil {
			files[path] = old[path]
		}
	}
}

// faulty says whether one of the files says what cannot be followed.
func (files rulesFiles) faulty() bool {
	for _, f := range files {
		if f.faulty {
			return true
		}
	}
	return false
}

// refresh takes over what has changed in the files, and tells of it.
func (files rulesFiles) refresh(lns []*listener, log *slog.Logger) {
	for _, f := range files {
		other, err := f.refresh()
		switch {
		case err != nil:
			tellFaults(log, f.path, err)
		case other:
			log.Info("rules taken over", "file", f.path, "allow", len(f.rules.Allow), "deny", len(f.rules.Deny))
			for _, ln := range lns {
				if p := ln.settings.Load().Limits.Policy; p.Rules == f.path {
					ln.door.rules.Store(files.of(p))
				}
			}
		}
	}
}

func tellFaults(log *slog.Logger, path string, err error) {
	if faults, ok := errors.AsType[config.Faults](err); ok && len(faults) > 0 {
		for line := range strings.Lines(faults.Error()) {
			log.Error("rules not taken over, those before hold", "file", path, "err", strings.TrimSuffix(line, "\n"))
		}
		return
	}
	log.Error("rules not taken over, those before hold", "file", path, "err", err)
}
