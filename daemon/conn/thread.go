package conn

import (
	"cmp"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sockaddr"
)

// Thread is a connection that blocks its thread in poll(2) while it waits. No poller knows the
// descriptor: a program or another process may have it too and wait for it in its own way.
type Thread struct {
	socket
	wakeup      *Wakeup
	readBy      deadline
	writeBy     deadline
	interrupted atomic.Uint32

	mu     sync.Mutex // others may use the descriptor until it is closed
	closed bool
}

// NewThread returns a Conn whose Wake and Expire take effect when w is rung.
func NewThread(fd int, w *Wakeup) *Thread { return &Thread{socket: socket(fd), wakeup: w} }

// Wait implements Conn.
func (t *Thread) Wait(try func() bool) error {
	for {
		if err := t.block(unix.POLLIN, &t.readBy, woken|expired); err != nil {
			// Whatever ended the wait, the caller looks around now.
			t.interrupted.And(^uint32(woken))
			return err
		}
		if try() {
			return nil
		}
	}
}

// Write implements Conn.
func (t *Thread) Write(b []byte) error {
	for len(b) > 0 {
		if err := t.block(unix.POLLOUT, &t.writeBy, expired); err != nil {
			return err
		}
		n, err := t.TryWrite(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// block blocks the thread until the descriptor is ready, the deadline has passed, or one of the
// interruptions has come.
func (t *Thread) block(events int16, by *deadline, interruptions uint32) error {
	for {
		// Before the interruptions are looked at: they are set before the ring.
		ring, err := t.wakeup.next()
		if err != nil {
			return err
		}
		timeout := -1
		if left, set := by.left(); set || t.interrupted.Load()&interruptions != 0 {
			if left <= 0 || t.interrupted.Load()&interruptions != 0 {
				return os.ErrDeadlineExceeded
			}
			timeout = int(min((left+time.Millisecond-1)/time.Millisecond, 1<<30))
		}
		fds := [2]unix.PollFd{
			{Fd: int32(t.socket), Events: events},
			{Fd: int32(ring.Fd()), Events: unix.POLLIN},
		}
		_, err = unix.Poll(fds[:], timeout)
		runtime.KeepAlive(ring) // its finalizer would close the descriptor under us
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if fds[0].Revents != 0 {
			return nil
		}
	}
}

// SetReadDeadline implements Conn.
func (t *Thread) SetReadDeadline(at time.Time) { t.readBy.set(at) }

// SetWriteDeadline implements Conn.
func (t *Thread) SetWriteDeadline(at time.Time) { t.writeBy.set(at) }

// Wake implements Conn.
func (t *Thread) Wake() { t.interrupted.Or(woken) }

// Expire implements Conn.
func (t *Thread) Expire() { t.interrupted.Or(woken | expired) }

// CloseWrite implements Conn.
func (t *Thread) CloseWrite() { t.Control(closeWrite) }

// HangUp implements Conn.
func (t *Thread) HangUp() { t.Control(HangUp) }

// LocalAddr implements Conn.
func (t *Thread) LocalAddr() sockaddr.Local { return localAddr(t) }

// Control implements Conn.
func (t *Thread) Control(f func(fd uintptr)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		f(uintptr(t.socket))
	}
}

// Close implements Conn.
func (t *Thread) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		// What matters was read; the client learns of the end anyway.
		_ = unix.Close(int(t.socket))
		t.closed = true
	}
}

// deadline is a moment of the monotonic clock, which nobody sets. The zero value is none. Safe for
// concurrent use.
type deadline struct{ nanoseconds atomic.Int64 } // since loaded; 0 is no deadline

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
