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
)

// proxyTimeout is how long a proxy may take to say whom it speaks for.
const proxyTimeout = 10 * time.Second

// ProxyStage is the stage of a connection that comes through a proxy: it reads the PROXY header,
// which names the client, and has that client admitted. The header is looked at and then removed
// from the socket whole: nothing behind it is touched.
type ProxyStage struct{}

// Run implements Stage.
func (ProxyStage) Run(s *Session) (Reason, error) {
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
	s.Slot.SetClient(header.Client, header.Size) // first, or the next process would look in vain for it
	if err := s.Conn.Discard(header.Size); err != nil {
		return noHeader(s, err)
	}
	return admit(s, header.Client)
}

// noHeader ends a session whose proxy does not keep to the protocol.
func noHeader(s *Session, err error) (Reason, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("none has come whole within %v", proxyTimeout)
	}
	if err := s.Open(); err != nil {
		return BySink, err
	}
	return ReasonOf(err, ByProxy), fmt.Errorf("read PROXY header: %w", err)
}

// admit has the proxy's client admitted; the zero value is that the proxy names none.
func admit(s *Session, client netip.AddrPort) (Reason, error) {
	addr := s.Peer
	if client.IsValid() {
		s.Source.Remote, s.Source.Proxy, addr = client.String(), s.Source.Remote, client
	}
	if !s.Env.Admit(s, addr) {
		s.Conn.Control(func(fd uintptr) { conn.Refuse(fd, s.Settings.Limits.Refusal.Raw) })
		return byRefusal, nil
	}
	return "", nil
}

// awaitHeader waits for the header within proxyTimeout, or until the session is Leaving or Over.
// io.EOF is that nothing has come before the end.
func awaitHeader(s *Session) (header proxy.Header, err error) {
	deadline := time.Now().Add(proxyTimeout)
	look := headerLook{conn: s.Conn, buf: make([]byte, usualHeader)}
	defer s.Conn.SetLowWater(1)
	defer s.Conn.SetReadDeadline(time.Time{})
	for {
		s.Conn.SetReadDeadline(deadline)
		err := s.Conn.Wait(look.look)
		early := errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline)
		if early && s.Phase() < Leaving { // what has changed does not matter here
			continue
		}
		return look.header, errors.Join(err, look.err)
	}
}

// usualHeader is how much of what has come is looked at first, as long as that is enough for the
// header.
const usualHeader = 512

// headerPause is how long a look waits that shows no more than the one before, although the socket
// is readable: an urgent byte stands within the header, or small segments fill the receive buffer,
// which makes a socket readable below its low water. A Thread would look again at once.
const headerPause = 100 * time.Millisecond

// headerLook looks for a PROXY header at the head of a connection.
type headerLook struct {
	conn interface {
		Readable() (some, ended bool)
		Peek([]byte) (int, error)
		SetLowWater(int)
	}
	buf    []byte
	seen   int // bytes that the last look has shown
	header proxy.Header
	err    error
}

// look looks once, and reports whether there is a header or an error.
func (l *headerLook) look() bool {
	some, ended := l.conn.Readable()
	n, err := l.peek()
	switch {
	case err == unix.EAGAIN:
		return false
	case n < 0:
		l.err = os.NewSyscallError("recv", err)
		return true
	}
	l.header, l.err = proxy.Parse(l.buf[:n])
	switch {
	case l.err != nil || l.header.Size > 0:
	case n == 0:
		l.err = io.EOF
	case ended:
		l.err = io.ErrUnexpectedEOF
	default:
		l.expectMore(n, some)
		return false
	}
	return true
}

// expectMore has the next look wait for more than the n bytes that are seen. some reports that the
// socket is readable.
func (l *headerLook) expectMore(n int, some bool) {
	if n > l.seen {
		l.seen = n
		l.conn.SetLowWater(n + 1) // the kernel calls a socket that is readable so again
		return
	}
	if some {
		time.Sleep(headerPause)
	}
}

// peek looks at what has come, into a larger buffer when the header needs one.
func (l *headerLook) peek() (int, error) {
	n, err := l.conn.Peek(l.buf)
	if n < len(l.buf) || n == proxy.MaxSize {
		return n, err
	}
	if header, err := proxy.Parse(l.buf); err != nil || header.Size > 0 {
		return n, nil
	}
	l.buf = make([]byte, proxy.MaxSize)
	return l.conn.Peek(l.buf)
}
