package builtin

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/session"
)

// chunkSize is how much is carried at a time.
const chunkSize = 16 << 10

// chunks are buffers that nobody uses.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// carrier takes what the client sends, for echo and discard. It is removed from the socket once it
// is sent back.
type carrier struct {
	service
	echoes bool

	onRead func() bool      // see
	free   func()           // release
	chunk  *[chunkSize]byte // nil: nothing was seen
	n      int              // how much of it was seen
	err    error            // what else was
}

func newCarrier(s *session.Session, echoes bool) *carrier {
	c := &carrier{service: service{s: s}, echoes: echoes}
	c.onRead, c.free = c.see, c.release
	return c
}

// Serve implements session.Service.
func (c *carrier) Serve() (why session.Reason, err error) {
	if c.echoes {
		c.s.Conn.SetNoDelay()
	}
	if why, err = c.begin(); why != "" {
		return why, err
	}
	for why == "" {
		why, err = c.next()
	}
	return why, err
}

// next waits for what comes next, and carries it. A reason is that the session ends.
func (c *carrier) next() (session.Reason, error) {
	if !c.echoes || c.s.Phase() == session.Draining && c.s.Conn.Unread() == 0 {
		c.bidFarewell()
	}
	if c.room(1, c.s.Offset()) == 0 {
		return c.full(0)
	}
	if err := c.s.Conn.Wait(c.onRead); err != nil {
		return c.interrupted(err)
	}
	return c.carry()
}

// see looks at what has come, and reports whether anything has: bytes, the end, or an error. Only
// bytes take a buffer.
func (c *carrier) see() bool {
	c.chunk = chunks.Get().(*[chunkSize]byte)
	n, err := c.s.Conn.Peek(c.chunk[:c.room(chunkSize, c.s.Offset())])
	if c.n, c.err = max(n, 0), err; c.n == 0 {
		c.release()
	}
	return err != unix.EAGAIN
}

func (c *carrier) release() {
	if c.chunk != nil {
		chunks.Put(c.chunk)
		c.chunk = nil
	}
}

// carry carries what was seen.
func (c *carrier) carry() (why session.Reason, err error) {
	n := c.n
	switch {
	case n == 0 && c.err != nil:
		err := os.NewSyscallError("recv", c.err)
		return session.ReasonOf(err, session.ByError), err
	case n == 0:
		return session.ByEOF, nil
	case c.echoes && !c.farewell:
		n, why, err = c.send(c.chunk[:n], c.free)
	}
	c.release()
	if n == 0 {
		return why, err
	}
	c.heard = time.Now()
	if err := c.s.Carry(n, 0); err != nil {
		return session.ReasonOf(err, session.ByError), err
	}
	c.pause(c.spend(n, c.heard), c.leaves)
	return why, err
}
