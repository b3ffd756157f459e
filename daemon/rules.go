package daemon

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"

	"tcpmux/config"
	"tcpmux/daemon/admission"
)

// rulesFile is a file of rules and what was last read from it. It is not safe for concurrent use.
type rulesFile struct {
	path   string
	seen   fileState
	rules  config.Rules // in force
	faulty bool         // the file has changed since and cannot be used
}

// fileState identifies one version of a file: replacing or changing the file changes it.
type fileState struct {
	dev, ino         uint64
	size             int64
	changed, written syscall.Timespec
}

// rulesFiles are the files in use, by path.
type rulesFiles map[string]*rulesFile

// openRules reads the files that the listeners name. A faulty file is an error: nothing is served
// with rules other than the configured ones.
func openRules(cfg []config.Listener) (rulesFiles, error) {
	files := make(rulesFiles)
	for _, c := range cfg {
		if err := files.add(c.Limits.Rules); err != nil {
			return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
		}
	}
	return files, nil
}

// add reads the file at path, unless that was done before. An empty path names no file.
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

// refresh reads the file if it has changed, and reports whether other rules are in force now.
// After an error the previous rules stay in force; the same error is returned only once.
func (f *rulesFile) refresh() (changed bool, err error) {
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

// stateOf returns the state of the file at path; the zero value if the file does not exist.
func stateOf(path string) (fileState, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fileState{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fileState{uint64(st.Dev), st.Ino, st.Size, st.Ctim, st.Mtim}, nil
}

// of returns the rules of a policy. They admit nobody if the file of the policy was never read.
func (files rulesFiles) of(p config.Policy) *admission.Rules {
	f := files[p.Rules]
	switch {
	case p.Rules == "":
		return admission.NewRules(p.Allow, p.Deny)
	case f == nil:
		return admission.NewRules(nil, everyAddress)
	}
	return admission.NewRules(slices.Concat(p.Allow, f.rules.Allow), slices.Concat(p.Deny, f.rules.Deny))
}

var everyAddress = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// keep adds those of the old files that a policy in use still names: a listener that is configured
// no longer uses its file until a restart.
func (files rulesFiles) keep(old rulesFiles, inUse []config.Policy) {
	for _, p := range inUse {
		if files[p.Rules] == nil && old[p.Rules] != nil {
			files[p.Rules] = old[p.Rules]
		}
	}
}

// faulty reports whether a file has changed and cannot be used.
func (files rulesFiles) faulty() bool {
	for _, f := range files {
		if f.faulty {
			return true
		}
	}
	return false
}

// refresh reads the files that have changed, and logs that. It returns the paths of those that
// have other rules now.
func (files rulesFiles) refresh(log *slog.Logger) (changed []string) {
	for path, f := range files {
		other, err := f.refresh()
		switch {
		case err != nil:
			logFaults(log, "rules not taken over, those before hold", err, "file", path)
		case other:
			log.Info("rules taken over", "file", path, "allow", len(f.rules.Allow), "deny", len(f.rules.Deny))
			changed = append(changed, path)
		}
	}
	return changed
}

// replaceRules puts other files of rules in force.
func (ps *ports) replaceRules(files rulesFiles) {
	var inUse []config.Policy
	for _, p := range ps.all {
		inUse = append(inUse, p.policy())
	}
	files.keep(ps.rules, inUse)
	ps.rules = files
	ps.useRules()
}

func (ps *ports) useRules() {
	ps.tls.setRules(ps.rules)
	for _, p := range ps.all {
		p.SetRules(ps.rules.of(p.policy()))
	}
}

// refreshRules puts in force what has changed in the files of rules.
func (ps *ports) refreshRules() {
	changed := ps.rules.refresh(ps.log)
	if len(changed) > 0 {
		ps.tls.setRules(ps.rules)
	}
	for _, p := range ps.all {
		if slices.Contains(changed, p.policy().Rules) {
			p.SetRules(ps.rules.of(p.policy()))
		}
	}
}

func (p *port) policy() config.Policy { return p.Settings().Limits.Policy }
