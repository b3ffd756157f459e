package conn

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sockaddr"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// Interruptions of a Poll and a Thread, as bits.
const (
	woken   = 1 << iota // the next Wait returns
	expired             // no Wait and no Write waits any more
	gone                // and the descriptor is closed
)

// Poll is a connection whose goroutine sleeps until the poller wakes it. One goroutine may be in
// Wait while others write, each of which waits for the one before.
type Poll struct {
	socket
	interrupted atomic.Uint32
	in          side                     // Wait
	out         atomic.Pointer[outgoing] // Write and AwaitRoom; nil: neither was called yet

	mu     sync.Mutex // others may use the descriptor until it is closed
	events uint32     // what the poller watches for; 0: nothing yet
}

// outgoing is the side that writes, for one goroutine after the other.
type outgoing struct {
	mu sync.Mutex
	side
	alarm alarm // the side's
}

// NewPoll returns a Conn for the descriptor of a socket. It is closed on an error.
func NewPoll(fd int) (*Poll, error) {
	if err := poller.start(); err != nil {
		_ = unix.Close(fd) // nothing was sent
		return nil, err
	}
	return &Poll{socket: socket(fd)}, nil
}

// Wait implements Conn.
func (p *Poll) Wait(try func() bool) error {
	for {
		p.in.rearm()
		if p.interrupted.Load() != 0 || p.in.overdue() {
			// Whatever has ended the wait, the caller looks around now.
			p.interrupted.And(^uint32(woken))
			return p.why()
		}
		if try() {
			return nil
		}
		if err := p.sleep(&p.in, unix.EPOLLIN); err != nil {
			return err
		}
	}
}

// Write implements Conn.
func (p *Poll) Write(b []byte) error {
	return p.whenRoom(func() (bool, error) {
		n, err := p.send(b)
		b = b[n:]
		return len(b) == 0, err
	})
}

// AwaitRoom waits until there may be room to write, or until a write would fail. It returns
// os.ErrDeadlineExceeded when the write deadline passes, and for good after Expire.
func (p *Poll) AwaitRoom() error {
	return p.whenRoom(func() (bool, error) {
		fds := [1]unix.PollFd{{Fd: int32(p.socket), Events: unix.POLLOUT}}
		_, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil)
		return err != nil || fds[0].Revents != 0, nil // on an error the write tells
	})
}

// whenRoom calls try whenever there may be room to write, until it returns true or an error.
func (p *Poll) whenRoom(try func() (bool, error)) error {
	out := p.outgoing()
	out.mu.Lock()
	defer out.mu.Unlock()
	for {
		out.rearm()
		if p.interrupted.Load()&(expired|gone) != 0 || out.overdue() {
			return p.why()
		}
		if done, err := try(); done || err != nil {
			return err
		}
		if err := p.sleep(&out.side, unix.EPOLLOUT); err != nil {
			return err
		}
	}
}

// why returns why there is no wait.
func (p *Poll) why() error {
	if p.interrupted.Load()&gone != 0 {
		return os.ErrClosed
	}
	return os.ErrDeadlineExceeded
}

// outgoing returns the side that writes.
func (p *Poll) outgoing() *outgoing {
	if out := p.out.Load(); out != nil {
		return out
	}
	out := &outgoing{}
	out.alarm.wake = out.wake
	out.deadline = &out.alarm
	p.out.CompareAndSwap(nil, out)
	return p.out.Load()
}

// sleep waits until something happens to a side: of the socket, event, or any of what its loop looks
// at.
func (p *Poll) sleep(s *side, event uint32) error {
	if err := p.watch(event); err != nil {
		return err
	}
	s.sleep()
	return nil
}

// watch has the poller tell of an event, and of what has happened already. Most connections are
// written to without waiting, so they are not watched for that.
func (p *Poll) watch(event uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.events&event != 0 || p.interrupted.Load()&gone != 0 {
		return nil
	}
	if err := poller.watch(p, p.events, p.events|event); err != nil {
		return err
	}
	p.events |= event
	return nil
}

// tell wakes the sides that events are for.
func (p *Poll) tell(events uint32) {
	const broken = unix.EPOLLERR | unix.EPOLLHUP
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 {
		p.in.wake()
	}
	if events&(unix.EPOLLOUT|broken) != 0 {
		p.wakeOut()
	}
}

func (p *Poll) wakeOut() {
	if out := p.out.Load(); out != nil {
		out.wake()
	}
}

// SetReadDeadline implements Conn.
func (p *Poll) SetReadDeadline(t time.Time) { p.in.setDeadline(t) }

// SetWriteDeadline implements Conn.
func (p *Poll) SetWriteDeadline(t time.Time) {
	if p.out.Load() != nil || !t.IsZero() {
		p.outgoing().setDeadline(t)
	}
}

// Wake implements Conn.
func (p *Poll) Wake() {
	p.interrupted.Or(woken)
	p.in.wake()
}

// Expire implements Conn.
func (p *Poll) Expire() {
	p.interrupted.Or(woken | expired)
	p.in.wake()
	p.wakeOut()
}

// CloseWrite implements Conn.
func (p *Poll) CloseWrite() { p.Control(closeWrite) }

// HangUp implements Conn.
func (p *Poll) HangUp() { p.Control(HangUp) }

// LocalAddr implements Conn.
func (p *Poll) LocalAddr() sockaddr.Local { return localAddr(p) }

// Control implements Conn.
func (p *Poll) Control(f func(fd uintptr)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interrupted.Load()&gone == 0 {
		f(uintptr(p.socket))
	}
}

// Close implements Conn.
func (p *Poll) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interrupted.Or(gone)&gone != 0 {
		return
	}
	if p.events != 0 {
		poller.unwatch(p)
	}
	// What matters was read; the client learns of the end anyway.
	_ = unix.Close(int(p.socket))
	p.in.deadline.silence()
	p.in.wake()
	if out := p.out.Load(); out != nil {
		out.alarm.silence()
		out.wake()
	}
}
