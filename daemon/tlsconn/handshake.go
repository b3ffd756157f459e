package tlsconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
)

// Interrupt decides about a handshake whenever a wait of it ends early (Wake): it returns why to
// give up, which then is the error, or until when to go on; the zero time changes nothing. begun
// reports whether something was taken from the client.
type Interrupt func(begun bool) (until time.Time, err error)

// Handshake makes the handshake as the server, reading nothing behind it. keep returns what keeps
// the connection for the next process, once the kernel is to have it; it may return nil. The
// session's goroutine calls it, once.
//
// An error of the client's is ErrPlainText or ErrCertificate, os.ErrDeadlineExceeded after
// opt.Timeout, io.EOF if nothing has come before the end, or any other.
func (c *Conn) Handshake(opt *Options, interrupt Interrupt, keep func() Memory) (Info, error) {
	h := handshake{conn: c, opt: opt}
	if err := h.offer(); err != nil {
		return Info{}, err
	}
	w := &wire{below: c.Conn, exact: true, deadline: time.Now().Add(opt.Timeout), interrupt: interrupt}
	t := tls.Server(w, h.config())
	err := t.Handshake()
	c.Conn.SetReadDeadline(time.Time{})
	c.Conn.SetWriteDeadline(time.Time{})
	w.exact = false
	if err != nil {
		return Info{}, h.explain(err, w)
	}
	state := t.ConnectionState()
	info := Info{TLS: describe(&state)}
	kept, err := h.install(&state, keep)
	switch {
	case kept != nil:
		c.secure(kept)
		info.Kernel, info.Kept = true, kept.memory != nil
		return info, nil
	case errors.Is(err, errHalfway):
		return Info{}, err
	case opt.Kernel == Require:
		_ = t.CloseWrite() // the client is refused
		return Info{}, fmt.Errorf("%w: %w", ErrKernel, err)
	}
	info.Reason = err.Error()
	c.secure(&user{tls: t, wire: w})
	return info, nil
}

// handshake is one that is under way.
type handshake struct {
	conn    *Conn
	opt     *Options
	secrets keyLog
	kernel  error // why the kernel cannot have the connection; nil: it can
}

// Reasons why the kernel does not have a connection.
var (
	errNever   = errors.New(`survive = "off"`)
	errVersion = errors.New("the client speaks TLS 1.2, and only TLS 1.3 can go to the kernel")
)

// errHalfway is that the kernel has one key and not the other: the connection cannot be used.
var errHalfway = errors.New("give the kernel the connection's keys")

// offer prepares the socket for the kernel.
func (h *handshake) offer() error {
	if h.opt.Kernel == Never {
		h.kernel = errNever
		return nil
	}
	h.kernel = os.ErrClosed
	h.conn.Control(func(fd uintptr) { h.kernel = prepare(fd) })
	if errors.Is(h.kernel, unix.ENOTCONN) {
		return nil // the client has closed, as health checks do: the handshake finds out
	}
	if h.kernel != nil && h.opt.Kernel == Require {
		return fmt.Errorf("%w: %w", ErrKernel, h.kernel)
	}
	return nil
}

// config returns the configuration of this handshake.
func (h *handshake) config() *tls.Config {
	c := h.opt.Config().Clone()
	c.SessionTicketsDisabled = true // a ticket would be a record under the kernel's key
	if h.kernel == nil {
		c.KeyLogWriter = &h.secrets
	}
	if admit, verify := h.opt.Admit, c.VerifyConnection; admit != nil {
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if verify != nil {
				if err := verify(state); err != nil {
					return err
				}
			}
			if subject := subjectOf(&state); !admit(subject) {
				return fmt.Errorf("%w: its subject %.100q is not allowed", ErrCertificate, subject)
			}
			return nil
		}
	}
	return c
}

// install gives the connection to the kernel. An error says why it has it not.
func (h *handshake) install(state *tls.ConnectionState, keep func() Memory) (*kernel, error) {
	s, known := suites[state.CipherSuite]
	switch {
	case h.kernel != nil:
		return nil, h.kernel
	case state.Version != tls.VersionTLS13:
		return nil, errVersion
	case !known || len(h.secrets.client) != s.secret || len(h.secrets.server) != s.secret:
		return nil, fmt.Errorf("the kernel cannot do %s", tls.CipherSuiteName(state.CipherSuite))
	}
	secured := Secured{
		Version: state.Version, Suite: state.CipherSuite,
		ServerName: state.ServerName, Subject: subjectOf(state),
		Client: h.secrets.client, Server: h.secrets.server,
	}
	memory := keep()
	if memory != nil && !memory.Begin(secured) {
		memory = nil
	}
	k := newKernel(h.conn.Conn, memory, secured)
	if err := setKey(k.fd, tlsTX, &s, secured.Server); err != nil {
		return nil, fmt.Errorf("the kernel cannot do %s: %w", tls.CipherSuiteName(state.CipherSuite), err)
	}
	if err := setKey(k.fd, tlsRX, &s, secured.Client); err != nil {
		return nil, fmt.Errorf("%w: %w", errHalfway, err)
	}
	if memory != nil {
		memory.Establish()
	}
	return k, nil
}

// describe returns what is known of a client.
func describe(state *tls.ConnectionState) record.TLS {
	return record.TLS{
		Version:    VersionName(state.Version),
		Cipher:     tls.CipherSuiteName(state.CipherSuite),
		ServerName: state.ServerName,
		Subject:    subjectOf(state),
	}
}

// VersionName returns the name of a version of TLS, such as "1.3".
func VersionName(version uint16) string {
	return strings.TrimPrefix(tls.VersionName(version), "TLS ")
}

// Describe returns what is known of a client that the previous process has left.
func (s *Secured) Describe() record.TLS {
	return record.TLS{
		Version:    VersionName(s.Version),
		Cipher:     tls.CipherSuiteName(s.Suite),
		ServerName: s.ServerName,
		Subject:    s.Subject,
	}
}

func subjectOf(state *tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return ""
	}
	return state.PeerCertificates[0].Subject.String()
}

// IsHello reports whether the bytes that a client sends first are the beginning of a ClientHello
// (RFC 8446, section 4.1.2): the head of a record and the type of the message in it.
func IsHello(b []byte) bool {
	return len(b) > recordHeadSize && b[0] == recordHandshake && b[1] == 3 && b[2] <= 4 && b[recordHeadSize] == helloType
}

// helloType is the type of a ClientHello.
const helloType = 1

// explain returns the error of a handshake that has failed.
func (h *handshake) explain(err error, w *wire) error {
	if w.failed != nil { // crypto/tls may have made another one of it
		err = w.failed
	}
	var head tls.RecordHeaderError
	var invalid *tls.CertificateVerificationError
	switch {
	case w.any && w.first != recordHandshake, errors.As(err, &head) && w.first != recordHandshake:
		return ErrPlainText
	case errors.Is(err, io.EOF) && w.any:
		return io.ErrUnexpectedEOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("not done within %v: %w", h.opt.Timeout, os.ErrDeadlineExceeded)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	case strings.Contains(err.Error(), "didn't provide a certificate"): // crypto/tls has no value for it
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return err
}
