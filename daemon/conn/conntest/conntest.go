// Package conntest is a connection in memory, for tests of what serves a client. It needs no socket
// and no real time: in a bubble of testing/synctest a wait ends when the bubble's clock says so.
// The tests of package conn hold that it behaves like the real ones.
package conntest

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/sockaddr"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// localAddr is our end's address.
var localAddr = sockaddr.ParseLocal("192.0.2.1:7000")

// Conn implements conn.Conn. What a test does in the client's place is Send, SendUrgent, SendEnd,
// Break, Received and SetRoom. Safe for concurrent use.
type Conn struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when anything below changes
	state
}

// state is all that a wait may depend on.
type state struct {
	in       incoming
	out      outgoing
	broken   error // what the next read or write returns
	lowWater int
	readBy   time.Time
	writeBy  time.Time
	woken    bool
	expired  bool
	closed   bool
}

// incoming is what the client has sent.
type incoming struct {
	data  []byte // not removed yet
	mark  int    // bytes before an urgent one; 0: a call does not end before one
	ended bool   // no more will be sent
}

// outgoing is what was written to the client.
type outgoing struct {
	data   []byte
	room   int  // how much more may be written
	closed bool // no more may be
}

var _ conn.Conn = (*Conn)(nil)

// New returns a connection over which nothing was sent yet, with much room for what is written.
func New() *Conn {
	return &Conn{
		changed: make(chan struct{}),
		state:   state{out: outgoing{room: 1 << 30}, lowWater: 1},
	}
}

// update changes the state and has all waits look at it.
func (c *Conn) update(change func(*state)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
	close(c.changed)
	c.changed = make(chan struct{})
}

// now returns the state, and a channel that is closed when it changes.
func (c *Conn) now() (state, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.changed
}

// await returns when the channel is closed, or at the deadline; the zero time is no deadline.
func await(changed <-chan struct{}, deadline time.Time) {
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-timeout:
	}
}

// passed reports whether a deadline is set and has passed.
func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// Wait implements conn.Conn. As with the poller try is called again only when something has
// changed.
func (c *Conn) Wait(try func() bool) error {
	for {
		s, changed := c.now()
		if passed(s.readBy) {
			c.update(func(s *state) { s.woken = false })
			return os.ErrDeadlineExceeded
		}
		if s.readable() && try() {
			return nil
		}
		await(changed, s.readBy)
	}
}

// readable reports whether a real connection would be.
func (s *state) readable() bool {
	return len(s.in.data) >= s.lowWater || s.in.ended || s.broken != nil
}

// Readable implements conn.Conn.
func (c *Conn) Readable() (some, ended bool) {
	s, _ := c.now()
	return s.readable(), s.in.ended || s.broken != nil
}

// Peek implements conn.Conn.
func (c *Conn) Peek(buf []byte) (n int, err error) { return c.receive(buf, false) }

// Take implements conn.Conn.
func (c *Conn) Take(buf []byte) (n int, err error) { return c.receive(buf, true) }

// receive copies what has arrived, up to an urgent byte, and may remove it. What came before the
// connection broke can be read; then it shows the error once, and from there on the end.
func (c *Conn) receive(buf []byte, remove bool) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch in := &c.in; {
	case len(in.data) > 0:
		if n = copy(buf, in.data); in.mark > 0 {
			n = min(n, in.mark)
		}
		if remove {
			in.remove(n)
		}
		return n, nil
	case c.broken != nil:
		return -1, c.takeError()
	case !in.ended:
		return -1, unix.EAGAIN
	}
	return 0, nil
}

// remove removes n bytes that have arrived. No wait is ended by that.
func (in *incoming) remove(n int) {
	in.data = in.data[n:]
	in.mark = max(in.mark-n, 0)
}

// takeError returns the error of a connection that is broken, which ends with it.
func (s *state) takeError() error {
	err := s.broken
	s.broken, s.in.ended, s.out.closed = nil, true, true
	return err
}

// Failure implements conn.Conn.
func (c *Conn) Failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		return nil
	}
	return c.takeError()
}

// Discard implements conn.Conn.
func (c *Conn) Discard(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	arrived := len(c.in.data)
	c.in.remove(min(n, arrived))
	switch {
	case n <= arrived:
		return nil
	case c.broken != nil:
		return c.takeError()
	case c.in.ended:
		return unix.ECONNRESET
	}
	return unix.EAGAIN
}

// Unread implements conn.Conn.
func (c *Conn) Unread() int {
	s, _ := c.now()
	return len(s.in.data)
}

// SetLowWater implements conn.Conn.
func (c *Conn) SetLowWater(n int) { c.update(func(s *state) { s.lowWater = n }) }

// LowWater returns what SetLowWater has set.
func (c *Conn) LowWater() int {
	s, _ := c.now()
	return s.lowWater
}

// TryWrite implements conn.Conn.
func (c *Conn) TryWrite(b []byte) (n int, err error) {
	c.update(func(s *state) {
		switch {
		case s.broken != nil:
			err = s.takeError()
			return
		case s.out.closed:
			err = unix.EPIPE
			return
		}
		n = min(len(b), s.out.room)
		s.out.data = append(s.out.data, b[:n]...)
		s.out.room -= n
	})
	return n, err
}

// Write implements conn.Conn.
func (c *Conn) Write(b []byte) error {
	for len(b) > 0 {
		if err := c.awaitRoom(); err != nil {
			return err
		}
		n, err := c.TryWrite(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// awaitRoom returns when the client takes more, or has gone, or the write deadline has passed.
func (c *Conn) awaitRoom() error {
	for {
		s, changed := c.now()
		switch {
		case passed(s.writeBy):
			return os.ErrDeadlineExceeded
		case s.out.room > 0, s.out.closed, s.broken != nil:
			return nil
		}
		await(changed, s.writeBy)
	}
}

// SetReadDeadline implements conn.Conn.
func (c *Conn) SetReadDeadline(t time.Time) {
	c.update(func(s *state) {
		if s.readBy = t; s.woken || s.expired {
			s.readBy = longAgo
		}
	})
}

// SetWriteDeadline implements conn.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) {
	c.update(func(s *state) {
		if s.writeBy = t; s.expired {
			s.writeBy = longAgo
		}
	})
}

// Wake implements conn.Conn.
func (c *Conn) Wake() { c.update(func(s *state) { s.woken, s.readBy = true, longAgo }) }

// Expire implements conn.Conn.
func (c *Conn) Expire() {
	c.update(func(s *state) { s.expired, s.readBy, s.writeBy = true, longAgo, longAgo })
}

// CloseWrite implements conn.Conn.
func (c *Conn) CloseWrite() { c.update(func(s *state) { s.out.closed = true }) }

// HangUp implements conn.Conn.
func (c *Conn) HangUp() {
	c.update(func(s *state) { s.in, s.out.closed = incoming{ended: true}, true })
}

// SetNoDelay implements conn.Conn: nothing is ever delayed.
func (c *Conn) SetNoDelay() {}

// LocalAddr implements conn.Conn.
func (c *Conn) LocalAddr() sockaddr.Local {
	if c.Closed() {
		return sockaddr.Local{}
	}
	return localAddr
}

// Control implements conn.Conn: there is no descriptor, so f is not called.
func (c *Conn) Control(func(fd uintptr)) {}

// Close implements conn.Conn.
func (c *Conn) Close() { c.update(func(s *state) { s.closed = true }) }
