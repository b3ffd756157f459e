package daemon

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// bell wakes all threads that wait in poll(2): ringing it makes the descriptor that they have been polling readable for good,
// and they go on with the next. Until it is hung there is nobody to wake.
type bell struct{ fd atomic.Pointer[os.File] }

// now is the descriptor to poll, once the bell is hung. It stays open while somebody holds it.
func (b *bell) now() *os.File { return b.fd.Load() }

// hang makes the bell one that can be rung. It may be called again.
func (b *bell) hang() error {
	if b.now() != nil {
		return nil
	}
	next, err := newEventfd()
	if err == nil && !b.fd.CompareAndSwap(nil, next) {
		err = next.Close() // another accept loop was first
	}
	return err
}

// ring wakes all.
func (b *bell) ring() error {
	if b.now() == nil {
		return nil
	}
	next, err := newEventfd()
	if err != nil {
		return err
	}
	_, err = b.fd.Swap(next).Write([]byte{1, 0, 0, 0, 0, 0, 0, 0}) // not closed: threads poll it; it goes when they have left it
	return err
}

func newEventfd() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), "bell"), nil
}

// ringBell makes the threads look at the deadlines that were set for them.
func (s *Server) ringBell() {
	if err := s.bell.ring(); err != nil {
		s.log.Error("threads cannot be woken", "err", err)
	}
}
