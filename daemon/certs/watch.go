package certs

import (
	"os"
	"slices"
	"syscall"
	"time"
)

// WatchInterval is the pause between two calls of Poll.
const WatchInterval = 10 * time.Second

// What a program renews it replaces file by file, so that what is found in between does not fit
// together. A fault is reported once it has lasted for settled polls, and tried anew every retried
// polls, as time alone can end one.
const (
	settled = 3
	retried = 6
)

// watch is what Poll knows.
type watch struct {
	seen   []fileState // of the files, before they were last loaded
	failed int         // polls in a row with a fault
}

// fileState identifies one version of a file, and what it is a link to: whatever replaces or
// changes it changes that. The zero value is that of a file that is not there.
type fileState struct {
	path             string
	dev, ino         uint64
	size             int64
	changed, written syscall.Timespec
}

// states returns the states of the set's files.
func (s *Set) states() (all []fileState) {
	for _, path := range Files(s.of) {
		state := fileState{path: path}
		if info, err := os.Stat(path); err == nil { // of what a link leads to
			st := info.Sys().(*syscall.Stat_t)
			state.dev, state.ino, state.size, state.changed, state.written = uint64(st.Dev), st.Ino, st.Size, st.Ctim, st.Mtim
		}
		all = append(all, state)
	}
	return all
}

// Poll loads the files anew if they have changed, and puts them in force if they are good. Call it
// every WatchInterval. It returns whether others are in force now; an error is returned once, and
// only if it lasts: then what was in force stays in force.
func (s *Set) Poll() (swapped bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.watch
	changed := !slices.Equal(w.seen, s.states())
	switch {
	case !changed && w.failed == 0 && s.fault == nil:
		return false, nil
	case !changed && s.fault != nil && w.failed%retried != 0:
		w.failed++
		return false, nil
	}
	next, err := s.loadLocked()
	if err == nil {
		s.useLocked(next)
		return true, nil
	}
	if w.failed++; w.failed < settled && s.fault == nil {
		return false, nil
	}
	if s.noteLocked(err) {
		return false, err
	}
	return false, nil
}
