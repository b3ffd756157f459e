package session

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/proxy"
	"tcpmux/daemon/sockaddr"
)

// proxyTimeout is how long a proxy may take to say whom it speaks for.
const proxyTimeout = 10 * time.Second

// ProxyStage is the stage of a connection that comes through a proxy: it reads the PROXY header,
// which names the client, and has that client admitted. The header is looked at and then removed
// from the socket whole: nothing behind it is touched.
type ProxyStage struct{}

// Run implements Stage.
func (ProxyStage) Run(s *Session) (Reason, error) {
	if s.Done&DoneProxy != 0 {
		return "", nil
	}
	header, err := awaitHeader(s)
	switch {
	case err == nil:
	case s.Phase() == Leaving:
		return ByLeave, nil
	case s.Phase() == Over:
		return ByDrain, s.Open()
	case errors.Is(err, io.EOF):
		return ByEOF, s.Open()
	default:
		return noHeader(s, err)
	}
	// first, or the next process would look in vain for it.
	s.Slot.SetClient(header.Client, header.Size)
	if err := s.Conn.Discard(header.Size); err != nil {
		return noHeader(s, err)
	}
	return admit(s, header.Client)
}

// noHeader ends a session whose proxy does not keep to the protocol.
func noHeader(s *Session, err error) (Reason, error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("none has come whole within %v", proxyTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = cutOff(s.Conn)
	}
	if err := s.Open(); err != nil {
		return BySink, err
	}
	return ReasonOf(err, ByProxy), fmt.Errorf("read PROXY header: %w", err)
}

// admit has the proxy's client admitted; the zero value is that the proxy names none.
func admit(s *Session, client netip.AddrPort) (Reason, error) {
	peer := s.Peer()
	if client.IsValid() {
		s.mu.Lock()
		s.Source.Remote, s.Source.Proxy, peer = client.String(), s.Source.Remote, sockaddr.TCP(client)
		s.mu.Unlock()
	}
	if !s.Env.Admit(s, peer) {
		if s.Settings.TLS == nil { // else the client could not read it
			s.Conn.Control(func(fd uintptr) { conn.Refuse(fd, s.Settings.Limits.Refusal.Raw) })
		}
		return byRefusal, nil
	}
	return "", nil
}

// awaitHeader waits for the header within proxyTimeout, or until the session is Leaving or Over.
// io.EOF is that nothing has come before the end.
func awaitHeader(s *Session) (header proxy.Header, err error) {
	s.Await(ForHeader)
	deadline := time.Now().Add(proxyTimeout)
	peek := headerPeek{conn: s.Conn, buf: make([]byte, usualHeader)}
	defer s.Conn.SetLowWater(1)
	defer s.Conn.SetReadDeadline(time.Time{})
	for {
		s.Conn.SetReadDeadline(deadline)
		err := s.Conn.Wait(peek.try)
		early := errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline)
		if early && s.Phase() < Leaving { // what has changed does not matter here
			continue
		}
		return peek.header, errors.Join(err, peek.err)
	}
}

// cutOff returns how a connection has ended within what was to come first: by an error if it was
// broken off.
func cutOff(c conn.Conn) error {
	if err := c.Failure(); err != nil {
		return os.NewSyscallError("recv", err)
	}
	return io.ErrUnexpectedEOF
}

// usualHeader is how much of what has come is looked at first, as long as that is enough for the
// header.
const usualHeader = 512

// headerPause is how long a peek waits that shows no more than the one before, although the socket
// is readable: an urgent byte stands within the header, or small segments fill the receive buffer,
// which makes a socket readable below its low water. A Thread would look again at once.
const headerPause = 100 * time.Millisecond

// headerPeek peeks for a PROXY header at the head of a connection.
type headerPeek struct {
	conn interface {
		Readable() (some, ended bool)
		Peek([]byte) (int, error)
		SetLowWater(int)
	}
	buf    []byte
	seen   int // bytes that the last peek has shown
	header proxy.Header
	err    error
}

// try peeks once, and reports whether there is a header or an error.
func (p *headerPeek) try() bool {
	some, ended := p.conn.Readable()
	n, err := p.peek()
	switch {
	case err == unix.EAGAIN:
		return false
	case n < 0:
		p.err = os.NewSyscallError("recv", err)
		return true
	}
	p.header, p.err = proxy.Parse(p.buf[:n])
	if p.err == nil && p.header.Size == 0 {
		n = conn.PeekOn(p.conn, p.buf, n)
		p.header, p.err = proxy.Parse(p.buf[:n])
	}
	switch {
	case p.err != nil || p.header.Size > 0:
	case n == 0:
		p.err = io.EOF
	case ended:
		p.err = io.ErrUnexpectedEOF
	default:
		p.expectMore(n, some)
		return false
	}
	return true
}

// expectMore has the next peek wait for more than the n bytes that are seen. some reports that the
// socket is readable.
func (p *headerPeek) expectMore(n int, some bool) {
	if n > p.seen {
		p.seen = n
		p.conn.SetLowWater(n + 1) // the kernel calls a socket that is readable so again
		return
	}
	if some {
		time.Sleep(headerPause)
	}
}

// peek looks at what has come, into a larger buffer when the header needs one.
func (p *headerPeek) peek() (int, error) {
	n, err := p.conn.Peek(p.buf)
	if n < len(p.buf) || n == proxy.MaxSize {
		return n, err
	}
	if header, err := proxy.Parse(p.buf); err != nil || header.Size > 0 {
		return n, nil
	}
	p.buf = make([]byte, proxy.MaxSize)
	return p.conn.Peek(p.buf)
}
