package daemon

import (
	"cmp"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// threadTalk serves a client by a thread of its own.
type threadTalk struct{ *talk }

func newThreadTalk(s *session, fd int) (threadTalk, error) {
	b := &s.server.bell
	if err := b.hang(); err != nil {
		_ = unix.Close(fd) // nothing was read or written
		return threadTalk{}, err
	}
	s.threaded = true
	return threadTalk{talkOver(s, newThreaded(fd, b), fd)}, nil
}

// serve implements model. The thread is never given back: it ends with the goroutine.
func (t threadTalk) serve() (reason, error) {
	runtime.LockOSThread()
	return t.talk.serve()
}

// threaded is a connection whose session owns an operating-system thread, and blocks it in poll(2) while it waits.
type threaded struct {
	bell    *bell
	readBy  deadline
	writeBy deadline
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

func (c *threaded) write(b []byte) error {
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
func (c *threaded) wait(events int16, by *deadline) error {
	for {
		rung := c.bell.now() // before the deadline is looked at: who changes it rings afterwards
		timeout := -1
		if left, set := by.left(); set {
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

func (c *threaded) setReadDeadline(t time.Time)  { c.readBy.set(t) }
func (c *threaded) setWriteDeadline(t time.Time) { c.writeBy.set(t) }

func (c *threaded) wake() { c.readBy.set(longAgo) }

func (c *threaded) expire() {
	c.wake()
	c.writeBy.set(longAgo)
}

// deadline is a moment of the monotonic clock, which nobody sets. The zero value is none. Safe for concurrent use.
type deadline struct{ nanoseconds atomic.Int64 } // from loaded on, never 0 when there is one

// loaded is when the process began.
var loaded = time.Now()

// set makes t the deadline; the zero time is none.
func (d *deadline) set(t time.Time) {
	if t.IsZero() {
		d.nanoseconds.Store(0)
		return
	}
	d.nanoseconds.Store(cmp.Or(int64(t.Sub(loaded)), 1))
}

// left returns how long it is until the deadline, if one is set.
func (d *deadline) left() (left time.Duration, set bool) {
	at := d.nanoseconds.Load()
	return time.Duration(at) - time.Since(loaded), at != 0
}
