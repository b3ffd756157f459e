package daemon

import (
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// threaded is a connection whose session owns an operating-system thread, and blocks it in poll(2) while it waits.
type threaded struct {
	bell    *bell
	readBy  atomic.Int64 // Unix nanoseconds; 0: no deadline
	writeBy atomic.Int64
	heldFD
}

func newThreaded(fd int, b *bell) *threaded { return &threaded{bell: b, heldFD: heldFD{fd: fd}} }

func (c *threaded) read(try func(fd uintptr) bool) error {
	for {
		if err := c.wait(unix.POLLIN, &c.readBy); err != nil {
			return err
		}
		if try(uintptr(c.fd)) {
			return nil
		}
	}
}

func (c *threaded) write(b []byte, by time.Time) error {
	c.writeBy.Store(by.UnixNano())
	for len(b) > 0 {
		if err := c.wait(unix.POLLOUT, &c.writeBy); err != nil {
			return err
		}
		n, err := unix.Write(c.fd, b)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return os.NewSyscallError("write", err)
		}
		b = b[max(n, 0):]
	}
	return nil
}

// wait blocks the thread until the descriptor is ready or the deadline has passed.
func (c *threaded) wait(events int16, deadline *atomic.Int64) error {
	for {
		rung := c.bell.now() // before the deadline is looked at: who changes it rings afterwards
		timeout := -1
		if at := deadline.Load(); at != 0 {
			left := time.Until(time.Unix(0, at))
			if left <= 0 {
				return os.ErrDeadlineExceeded
			}
			timeout = int(min((left+time.Millisecond-1)/time.Millisecond, 1<<30))
		}
		fds := [2]unix.PollFd{{Fd: int32(c.fd), Events: events}, {Fd: int32(rung.Fd()), Events: unix.POLLIN}}
		_, err := unix.Poll(fds[:], timeout)
		runtime.KeepAlive(rung) // its finalizer would close the descriptor under us
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if fds[0].Revents != 0 {
			return nil
		}
	}
}

func (c *threaded) setReadDeadline(t time.Time) {
	if t.IsZero() {
		c.readBy.Store(0)
		return
	}
	c.readBy.Store(t.UnixNano())
}

func (c *threaded) wake() { c.readBy.Store(longAgo.UnixNano()) }

func (c *threaded) expire() {
	c.wake()
	c.writeBy.Store(longAgo.UnixNano())
}

// bell wakes all threads that wait in poll(2): ringing it makes the descriptor that they have been polling readable for good,
// and they go on with the next.
type bell struct{ fd atomic.Pointer[os.File] }

// now is the descriptor to poll; nil before the first ring. It stays open while somebody holds it.
func (b *bell) now() *os.File { return b.fd.Load() }

// ring wakes all.
func (b *bell) ring() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if old := b.fd.Swap(os.NewFile(uintptr(fd), "bell")); old != nil {
		_, err = old.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0}) // not closed: threads poll it; it goes when they have left it
	}
	return err
}
