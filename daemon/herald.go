package daemon

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/admission"
	"tcpmux/daemon/proxy"
)

// proxyTimeout is how long a proxy may take to say whom it speaks for.
const proxyTimeout = 10 * time.Second

// herald is the model of a connection that comes through a proxy, before anything else: it reads the PROXY header, and has the
// configured model go on. The header is looked at and taken from the socket whole: nothing behind it is touched.
type herald struct {
	*session
	*polled     // a duplicate, as the model that follows waits in its own way
	fd      int // the connection; -1 once it is the next model's
}

func newHerald(s *session, fd int) (*herald, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(fd) // nothing was read or written
		return nil, os.NewSyscallError("fcntl", err)
	}
	p, err := newPolled(dup)
	if err != nil {
		_ = unix.Close(fd) // as above
		return nil, err
	}
	return &herald{session: s, polled: p, fd: fd}, nil
}

// proxied says whether the listener's clients come through proxies.
func (l *listenerSettings) proxied() bool { return len(l.ProxyProtocol) > 0 }

// trusts says whether a proxy at addr may say whom it speaks for.
func (l *listenerSettings) trusts(addr netip.Addr) bool {
	return l.proxies.Admit(addr)
}

// serve reads the header within proxyTimeout and then is that of the model which serves whoever it names.
func (h *herald) serve() (reason, error) {
	h.setReadDeadline(time.Now().Add(proxyTimeout))
	if h.overdue.Load() || h.leaving.Load() { // it may have come between
		h.wake()
	}
	header, err := h.header()
	switch {
	case err != nil && h.leaving.Load():
		return byLeave, nil
	case err != nil && h.overdue.Load():
		return byDrain, h.open()
	case errors.Is(err, io.EOF):
		return byEOF, h.open()
	case err != nil:
		return h.misled(err)
	}
	h.slot.SetClient(header.Client, header.Size) // before it is taken: the next process would look in vain for it
	h.control(func(fd uintptr) { err = discard(fd, header.Size) })
	if err != nil {
		return h.misled(err)
	}
	return h.goOn(header.Client)
}

// misled is how a session ends whose proxy does not keep to the protocol.
func (h *herald) misled(err error) (reason, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("none has come whole within %v", proxyTimeout)
	}
	if err := h.open(); err != nil {
		return bySink, err
	}
	return reasonOf(err, byProxy), fmt.Errorf("read PROXY header: %w", err)
}

// usualHeader is how much of what has come is looked at first, as long as that is enough for the header.
const usualHeader = 512

// header waits for the header. io.EOF is that nothing has come before the end.
func (h *herald) header() (header proxy.Header, err error) {
	buf := make([]byte, usualHeader)
	rerr := h.read(func(fd uintptr) bool {
		_, over := ready(fd)
		var n int
		if n, err = peek(fd, buf); n == len(buf) {
			if header, err = proxy.Parse(buf); err == nil && header.Size == 0 {
				buf = make([]byte, proxy.MaxSize)
				n, err = peek(fd, buf)
			}
		}
		switch {
		case err == unix.EAGAIN:
			return false
		case n < 0:
			err = os.NewSyscallError("recv", err)
			return true
		}
		header, err = proxy.Parse(buf[:n])
		switch {
		case err != nil || header.Size > 0:
		case n == 0:
			err = io.EOF
		case over:
			err = io.ErrUnexpectedEOF
		default:
			return false
		}
		return true
	})
	return header, errors.Join(rerr, err)
}

// goOn has the configured model serve the proxy's client, if that is let in; the zero value is that the proxy has none.
func (h *herald) goOn(client netip.AddrPort) (reason, error) {
	s := h.session
	addr := s.peer
	if client.IsValid() {
		s.source.Remote, s.source.Proxy, addr = client.String(), s.source.Remote, client
	}
	pass, verdict := s.server.gate(s.listener).Enter(addr.Addr(), time.Now())
	if verdict != admission.Admitted {
		s.server.refusals.add(verdict, addr)
		h.control(func(fd uintptr) { tellRefused(int(fd), s.settings.Limits.Refusal.Raw) })
		return byRefusal, nil
	}
	s.pass = pass
	if err := h.handDown(); err != nil {
		return byError, err
	}
	if s.leaving.Load() { // the herald has been told, but had gone on
		s.model.handOver()
	}
	return s.model.serve()
}

// handDown makes the configured model that of the session. The server, which may tell the model things meanwhile, sees one or the
// other.
func (h *herald) handDown() error {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	h.polled.close()
	fd := h.fd
	h.fd = -1
	if err := h.session.setModel(fd); err != nil {
		h.session.model = h
		return err
	}
	return nil
}

// drain tells nobody: whoever is behind the proxy has not been greeted.
func (h *herald) drain() {}

// nudge does nothing: no setting bounds the wait for a header.
func (h *herald) nudge() {}

// expire ends the wait for a header, which serve then says.
func (h *herald) expire() { h.wake() }

// handOver ends the wait for a header; what has come of it stays in the socket.
func (h *herald) handOver() { h.wake() }

func (h *herald) close() {
	h.polled.close()
	if h.fd >= 0 {
		_ = unix.Close(h.fd) // all that matters has been said
		h.fd = -1
	}
}
