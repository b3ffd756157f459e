package worker

import (
	"encoding/binary"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// Of a conn.Tracked, a connection of a unix socket, the daemon has to know how much is taken, and
// whether anything is sent: a process cannot keep that for the next daemon. So it only peeks, and
// has the daemon take.

// take has the daemon remove bytes from the connection; none: note that something was sent.
type take struct{ Size uint32 }

var takeSize = uint32(binary.Size(take{}))

// append appends a frame of the take.
func (t *take) append(dst []byte) []byte { return appendFrame(dst, frameTake, t) }

// parseTake reads the body of a frameTake.
func parseTake(body []byte) (t take, err error) {
	rest, err := parse(body, &t)
	if err != nil || len(rest) > 0 || t.Size > math.MaxInt32 {
		return take{}, errProtocol
	}
	return t, nil
}

// tracked returns the connection if the daemon takes from it for the worker; nil if that does so
// itself.
func (s *service) tracked() *conn.Tracked {
	t, _ := s.session.Conn.(*conn.Tracked)
	return t
}

// take does what a frameTake asks for.
func (s *service) take(size uint32) error {
	body, err := s.worker.body(nil, size)
	if err != nil {
		return errOrphan
	}
	s.worker.allow(0)
	asked, err := parseTake(body)
	c := s.tracked()
	if err != nil || c == nil {
		return errProtocol
	}
	a := kept
	if asked.Size == 0 {
		c.NoteSent()
	} else if c.Discard(int(asked.Size)) != nil || c.Rest() != nil {
		a = notKept
	}
	s.answer(a)
	return nil
}

// takingConn is the connection of a process for which the daemon takes.
type takingConn struct {
	conn.Conn
	sink *remoteSink
	sent bool // the daemon knows that something was sent
}

// Discard implements conn.Conn.
func (c *takingConn) Discard(n int) error {
	if n == 0 {
		return nil
	}
	return c.ask(n)
}

// TryWrite implements conn.Conn.
func (c *takingConn) TryWrite(b []byte) (int, error) {
	n, err := c.Conn.TryWrite(b)
	return n, c.noteSent(n, err)
}

// Write implements conn.Conn.
func (c *takingConn) Write(b []byte) error {
	err := c.Conn.Write(b)
	if err != nil {
		return err
	}
	return c.noteSent(len(b), nil)
}

func (c *takingConn) noteSent(n int, err error) error {
	if c.sent || n == 0 || err != nil {
		return err
	}
	c.sent = true
	return c.ask(0)
}

func (c *takingConn) ask(n int) error {
	ok, err := c.sink.take(&take{uint32(n)})
	if err == nil && !ok {
		err = os.NewSyscallError("recv", unix.ECONNRESET)
	}
	return err
}
