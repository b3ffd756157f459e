package conn

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Wakeup wakes all Threads that share it. Ring makes the descriptor that they poll readable for
// good, and they go on with another one. The zero value is ready to use. Safe for concurrent use.
type Wakeup struct{ file atomic.Pointer[os.File] } // nil: nobody has waited yet

// next returns the descriptor to poll until the next ring. It stays open while the caller holds it.
func (w *Wakeup) next() (*os.File, error) {
	if f := w.file.Load(); f != nil {
		return f, nil
	}
	f, err := newEventfd()
	if err != nil {
		return nil, err
	}
	if !w.file.CompareAndSwap(nil, f) { // another thread was first
		return w.file.Load(), f.Close()
	}
	return f, nil
}

// Ring makes all Threads look at what was set for them.
func (w *Wakeup) Ring() error {
	if w.file.Load() == nil {
		return nil
	}
	next, err := newEventfd()
	if err != nil {
		return err
	}
	// The old one is not closed, as threads poll it: its finalizer does when they have left it.
	_, err = w.file.Swap(next).Write([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	return err
}

func newEventfd() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), "wakeup"), nil
}
