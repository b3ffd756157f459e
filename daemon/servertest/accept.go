package servertest

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

func accept4(fd int) (int, syscall.Sockaddr, error) {
	return syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
}

// FailingAccept is an accept4(2) that fails while a fault is set. The zero value does not fail.
type FailingAccept struct {
	fault atomic.Pointer[unix.Errno]
	calls atomic.Int64
}

// Accept is for the option Accept.
func (f *FailingAccept) Accept(fd int) (int, syscall.Sockaddr, error) {
	f.calls.Add(1)
	if err := f.fault.Load(); err != nil {
		return -1, nil, *err
	}
	return accept4(fd)
}

// Fail makes calls fail from now on.
func (f *FailingAccept) Fail(errno unix.Errno) { f.fault.Store(&errno) }

// Recover lets calls succeed again.
func (f *FailingAccept) Recover() { f.fault.Store(nil) }

// Calls returns how many calls there were.
func (f *FailingAccept) Calls() int64 { return f.calls.Load() }

// HangingAccept is an accept4(2) whose first call hangs until Release, and then has accepted
// nothing. Make one with NewHangingAccept.
type HangingAccept struct {
	// Hangs is closed by the first call.
	Hangs   chan struct{}
	release chan struct{}
	first   sync.Once
}

// NewHangingAccept returns one that was not called.
func NewHangingAccept() *HangingAccept {
	return &HangingAccept{Hangs: make(chan struct{}), release: make(chan struct{})}
}

// Accept is for the option Accept.
func (h *HangingAccept) Accept(fd int) (int, syscall.Sockaddr, error) {
	first := false
	h.first.Do(func() { first = true })
	if first {
		close(h.Hangs)
		<-h.release
		return -1, nil, unix.EAGAIN
	}
	return accept4(fd)
}

// Release lets the first call return. It is called once.
func (h *HangingAccept) Release() { close(h.release) }
