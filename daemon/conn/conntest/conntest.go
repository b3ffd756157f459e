// Package conntest is a connection in memory, for tests of what serves a client. It needs no socket
// and no real time: in a bubble of testing/synctest a wait ends when the bubble's clock says so.
package conntest

import (
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// Conn implements conn.Conn. What a test does in the client's place is Send, SendEnd, Break, Received
// and SetRoom. Safe for concurrent use.
type Conn struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when anything below changes
	state
}

// state is all that a wait may depend on.
type state struct {
	in          []byte // sent and not removed yet
	ended       bool   // no more will be sent
	broken      error  // what reads return
	out         []byte // written
	room        int    // how much more may be written
	lowWater    int
	readBy      time.Time
	writeBy     time.Time
	woken       bool
	expired     bool
	writeClosed bool
	closed      bool
}

var _ conn.Conn = (*Conn)(nil)

// New returns a connection over which nothing was sent yet, with much room for what is written.
func New() *Conn {
	return &Conn{changed: make(chan struct{}), state: state{room: 1 << 30, lowWater: 1}}
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

// Send has the client send b.
func (c *Conn) Send(b string) { c.update(func(s *state) { s.in = append(s.in, b...) }) }

// SendEnd has the client send no more.
func (c *Conn) SendEnd() { c.update(func(s *state) { s.ended = true }) }

// Break breaks the connection: reads return err from now on.
func (c *Conn) Break(err error) { c.update(func(s *state) { s.broken = err }) }

// SetRoom has the client take n more bytes of what is written to it.
func (c *Conn) SetRoom(n int) { c.update(func(s *state) { s.room = n }) }

// Received returns what was written to the client so far.
func (c *Conn) Received() string {
	s, _ := c.now()
	return string(s.out)
}

// WriteClosed reports whether the client was told that nothing more will be sent to it.
func (c *Conn) WriteClosed() bool {
	s, _ := c.now()
	return s.writeClosed
}

// Closed reports whether Close was called.
func (c *Conn) Closed() bool {
	s, _ := c.now()
	return s.closed
}

// readable reports whether a real connection would be.
func (s *state) readable() bool {
	return len(s.in) >= s.lowWater || s.ended || s.broken != nil
}

// Wait implements conn.Conn. As with Go's poller try is called again only when something has changed.
func (c *Conn) Wait(try func() bool) error {
	for {
		s, changed := c.now()
		if s.woken || s.expired {
			c.update(func(s *state) { s.woken = false })
			return os.ErrDeadlineExceeded
		}
		if s.readable() && try() {
			return nil
		}
		if err := c.await(changed); err != nil {
			return err
		}
	}
}

// await returns when the state has changed, or the read deadline has passed.
func (c *Conn) await(changed <-chan struct{}) error {
	s, _ := c.now()
	var timeout <-chan time.Time
	if !s.readBy.IsZero() {
		timer := time.NewTimer(time.Until(s.readBy))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-timeout:
		return os.ErrDeadlineExceeded
	}
}

// Readable implements conn.Conn.
func (c *Conn) Readable() (some, ended bool) {
	s, _ := c.now()
	return s.readable(), s.ended || s.broken != nil
}

// Peek implements conn.Conn.
func (c *Conn) Peek(buf []byte) (int, error) {
	s, _ := c.now()
	switch {
	case s.broken != nil:
		return -1, s.broken
	case len(s.in) == 0 && !s.ended:
		return -1, unix.EAGAIN
	}
	return copy(buf, s.in), nil
}

// Take implements conn.Conn.
func (c *Conn) Take(buf []byte) (int, error) {
	n, err := c.Peek(buf)
	if n > 0 {
		err = c.Discard(n)
	}
	return n, err
}

// Discard implements conn.Conn.
func (c *Conn) Discard(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > len(c.in) {
		return unix.ECONNRESET
	}
	c.in = c.in[n:] // no wait is ended by that
	return nil
}

// Unread implements conn.Conn.
func (c *Conn) Unread() int {
	s, _ := c.now()
	return len(s.in)
}

// SetLowWater implements conn.Conn.
func (c *Conn) SetLowWater(n int) { c.update(func(s *state) { s.lowWater = n }) }

// TryWrite implements conn.Conn.
func (c *Conn) TryWrite(b []byte) (n int, err error) {
	c.update(func(s *state) {
		if s.broken != nil {
			err = s.broken
			return
		}
		n = min(len(b), s.room)
		s.out = append(s.out, b[:n]...)
		s.room -= n
	})
	return n, err
}

// Write implements conn.Conn.
func (c *Conn) Write(b []byte) error {
	for {
		n, err := c.TryWrite(b)
		if b = b[n:]; err != nil || len(b) == 0 {
			return err
		}
		if err := c.awaitRoom(); err != nil {
			return err
		}
	}
}

// awaitRoom returns when the client takes more, or the write deadline has passed.
func (c *Conn) awaitRoom() error {
	for {
		s, changed := c.now()
		switch {
		case s.expired, !s.writeBy.IsZero() && !time.Now().Before(s.writeBy):
			return os.ErrDeadlineExceeded
		case s.room > 0 || s.broken != nil:
			return nil
		}
		var timeout <-chan time.Time
		if !s.writeBy.IsZero() {
			timeout = time.After(time.Until(s.writeBy))
		}
		select {
		case <-changed:
		case <-timeout:
		}
	}
}

// SetReadDeadline implements conn.Conn.
func (c *Conn) SetReadDeadline(t time.Time) { c.update(func(s *state) { s.readBy = t }) }

// SetWriteDeadline implements conn.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) { c.update(func(s *state) { s.writeBy = t }) }

// Wake implements conn.Conn.
func (c *Conn) Wake() { c.update(func(s *state) { s.woken = true }) }

// Expire implements conn.Conn.
func (c *Conn) Expire() { c.update(func(s *state) { s.expired = true }) }

// CloseWrite implements conn.Conn.
func (c *Conn) CloseWrite() { c.update(func(s *state) { s.writeClosed = true }) }

// HangUp implements conn.Conn.
func (c *Conn) HangUp() { c.update(func(s *state) { s.writeClosed, s.ended, s.in = true, true, nil }) }

// SetNoDelay implements conn.Conn: nothing is ever delayed.
func (c *Conn) SetNoDelay() {}

// LocalAddr implements conn.Conn.
func (c *Conn) LocalAddr() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:7000") }

// Control implements conn.Conn: there is no descriptor, so f is not called.
func (c *Conn) Control(func(fd uintptr)) {}

// Close implements conn.Conn.
func (c *Conn) Close() { c.update(func(s *state) { s.closed = true }) }
