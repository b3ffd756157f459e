package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/recordfile"
)

// deliveryState is what the state files of forwarders say of record files. It is safe for
// concurrent use. log must be set.
type deliveryState struct {
	log *slog.Logger

	mu    sync.Mutex
	dir   string      // of the file that was read last
	file  fs.FileInfo // of that file; nil: it is not there, or cannot be read
	asked time.Time
	kept  delivery.Cursor

	// problem is why the file cannot be read, in plain words; nil: it can, or it is not there.
	problem atomic.Pointer[string]
}

// statePause is how long what a state file said holds: a forwarder writes it several times a
// second.
const statePause = time.Second

// of returns what tells retention which files of a record file stay, for as long as f is in force;
// nil if nothing is forwarded.
func (s *deliveryState) of(f *config.Forward, path string) func() recordfile.Undelivered {
	if !f.On() || path == config.Stdout {
		return nil
	}
	dir, key := f.State, delivery.KeyOf(path)
	return func() recordfile.Undelivered {
		position, ok := s.read(dir).Find(key)
		if !ok {
			return recordfile.Undelivered{All: true}
		}
		return recordfile.Undelivered{From: position.Mark}
	}
}

// read returns up to where files are delivered. It is nothing as long as there is no state file, or
// one that cannot be read.
func (s *deliveryState) read(dir string) delivery.Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if dir == s.dir && time.Since(s.asked) < statePause {
		return s.kept
	}
	file, err := os.Stat(delivery.Path(dir))
	if err == nil && dir == s.dir && s.file != nil && unchanged(s.file, file) {
		s.asked = time.Now()
		return s.kept
	}
	var state delivery.State
	if err == nil {
		state, err = delivery.Load(dir)
	}
	s.dir, s.file, s.asked, s.kept = dir, file, time.Now(), state.Kept
	if err != nil {
		s.file, s.kept = nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // nothing is delivered yet
	}
	s.noteLocked(err)
	return s.kept
}

// unchanged reports whether it is the same file with the same content.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// noteLocked notes whether the state file can be read, and logs when that changes.
func (s *deliveryState) noteLocked(err error) {
	was := s.problem.Load()
	switch {
	case err == nil:
		s.problem.Store(nil)
		if was != nil {
			s.log.Info("how far records are delivered is known again")
		}
		return
	case was == nil:
		s.log.Warn("how far records are delivered is not known, no rotated file is removed", "err", err)
	}
	text := fmt.Sprintf("how far records are delivered is not known, no rotated file is removed: %v", err)
	s.problem.Store(&text)
}

// roomHint returns the next step if there is no room for records because rotated files wait to be
// delivered; "" if it is not that.
func (r *recordFile) roomHint(err error) string {
	_, tooLittle := errors.AsType[*recordfile.RoomError](err)
	n := r.counts.Overdue.Load()
	if n == 0 || !tooLittle && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return ""
	}
	return fmt.Sprintf(" (%s would be removed, but stay until they are delivered: see tcpmux-forward status;"+
		" tcpmux-forward --forget gives up their delivery)", r.overdue())
}

// overdue returns how many rotated files stay only until they are delivered.
func (r *recordFile) overdue() string {
	return fmt.Sprintf("%s of %.1f MiB", counted(r.counts.Overdue.Load(), "rotated file"), float64(r.counts.OverdueBytes.Load())/(1<<20))
}

// troubles returns what is wrong with the file although records are written.
func (r *recordFile) troubles() []string {
	all := r.conditions.list()
	if i := slices.Index(all, conditionTexts[recordfile.Overdue].status); i >= 0 {
		all[i] += " (" + r.overdue() + ")"
	}
	return all
}
