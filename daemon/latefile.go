package daemon

import (
	"io/fs"
	"sync"
	"sync/atomic"

	"tcpmux/config"
	"tcpmux/daemon/recordfile"
)

// lateFile is a record file that need not be open: a write opens it. So lines wait for a file that
// cannot be opened as they wait for one that cannot be written. Its methods may be called from any
// goroutine.
type lateFile struct {
	mu      sync.Mutex
	opt     recordfile.Options
	file    *recordfile.File // nil: it is not open
	journal recordfile.Journal
	closed  bool                   // for good
	path    atomic.Pointer[string] // opt.Path, for those who must not wait for a disk
}

// setLocked sets the options.
func (l *lateFile) setLocked(opt recordfile.Options) {
	l.opt = opt
	l.path.Store(&opt.Path)
}

// Open opens the file unless it is open.
func (l *lateFile) Open() error {
	_, err := l.opened()
	return err
}

// opened returns the file, which it opens unless it is open.
func (l *lateFile) opened() (*recordfile.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, fs.ErrClosed
	case l.file != nil:
		return l.file, nil
	}
	f, err := recordfile.Open(l.opt)
	if err != nil {
		return nil, err
	}
	l.useLocked(f)
	return f, nil
}

func (l *lateFile) useLocked(f *recordfile.File) {
	if l.journal != nil {
		f.KeepIn(l.journal)
	}
	l.file = f
}

// now returns the file; nil if it is not open.
func (l *lateFile) now() *recordfile.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file
}

// Write appends lines as recordfile.File does.
func (l *lateFile) Write(lines []byte) (int, error) {
	// What opened needs of the stack would be kept by every client whose goroutine has written.
	f := l.now()
	if f == nil {
		var err error
		if f, err = l.opened(); err != nil {
			return 0, err
		}
	}
	return f.Write(lines)
}

// KeepIn has a journal note what is written.
func (l *lateFile) KeepIn(j recordfile.Journal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal = j
	if l.file != nil {
		l.file.KeepIn(j)
	}
}

// Path returns the name of the file. It never waits.
func (l *lateFile) Path() string { return *l.path.Load() }

func (l *lateFile) options() recordfile.Options {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opt
}

// Reopen replaces the options. A file with another path is opened. One that could not be opened so
// far may wait on. After an error nothing has changed.
func (l *lateFile) Reopen(opt recordfile.Options) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		if err := l.file.Reopen(opt); err != nil {
			return err
		}
		l.setLocked(opt)
		return nil
	}
	f, err := recordfile.Open(opt)
	switch {
	case err == nil:
		l.useLocked(f)
	case opt.Path != l.opt.Path:
		return err
	}
	l.setLocked(opt)
	return nil
}

// Rotate rotates the file now, and reports whether it has: one that is empty or not open stays.
func (l *lateFile) Rotate() (bool, error) {
	f := l.now()
	if f == nil || l.Path() == config.Stdout {
		return false, nil
	}
	return f.Rotate()
}

// LowerMinFree has the file leave less room free, until undo.
func (l *lateFile) LowerMinFree(least int64) (undo func()) {
	if f := l.now(); f != nil {
		return f.LowerMinFree(least)
	}
	return func() {}
}

// Follow makes a file anew that was moved or deleted.
func (l *lateFile) Follow() error {
	if f := l.now(); f != nil {
		return f.Follow()
	}
	return nil
}

// Tick is to be called about once a second. It does not wait for a file that is being opened.
func (l *lateFile) Tick() {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Tick()
	}
}

// isOpen reports whether the file is open. It does not wait: one that is being opened or closed is
// not.
func (l *lateFile) isOpen() bool {
	if !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	return l.file != nil
}

// touch returns when nothing that may hang in a disk has the file.
func (l *lateFile) touch() {
	if f := l.now(); f != nil {
		_ = f.Path()
	}
}

// Rest closes the file until the next write. It returns at once: done is called afterwards, before
// anybody can use the file again. A file that is not open, or is being opened or closed, stays so.
func (l *lateFile) Rest(done func(error)) {
	if !l.mu.TryLock() {
		return
	}
	if l.file == nil {
		l.mu.Unlock()
		return
	}
	go func() { // the disk may hang
		defer l.mu.Unlock()
		done(l.closeLocked())
	}()
}

func (l *lateFile) closeLocked() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// Close closes the file for good.
func (l *lateFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.closeLocked()
}
