// Package tlsconn is a client's connection that speaks TLS, as its session uses it: a conn.Conn
// over another one. crypto/tls does the handshake. Then the kernel encrypts and decrypts, where it
// can (kTLS, Documentation/networking/tls.rst of Linux): the connection is a socket like any other,
// and outlives the process. Else crypto/tls goes on, and the connection ends with the process.
//
// Nothing that has arrived is taken before the session says so, whoever decrypts it. A stream that
// ends without the client's close_notify ends with ErrTruncated.
package tlsconn

import (
	"crypto/tls"
	"errors"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/record"
)

// Kernel is whether the kernel is to encrypt and decrypt.
type Kernel uint8

// Values of Options.Kernel.
const (
	Auto    Kernel = iota // where it can
	Require               // and else the client is refused
	Never                 // crypto/tls does
)

// Options are how clients of a listener are spoken to. They are not changed.
type Options struct {
	// Config returns the configuration in force. It is not changed, and has no key log.
	Config func() *tls.Config
	Kernel Kernel
	// Timeout bounds a handshake.
	Timeout time.Duration
	// Admit decides on a client's certificate, by its subject; nil lets everybody in. Without a
	// certificate the subject is "".
	Admit func(subject string) bool
}

// Errors of a handshake, of which the client is the cause.
var (
	// ErrPlainText reports that the client does not speak TLS.
	ErrPlainText = errors.New("the client does not speak TLS")
	// ErrCertificate reports that the client's certificate was refused, or is missing.
	ErrCertificate = errors.New("the client's certificate was refused")
	// ErrKernel reports that the kernel cannot encrypt and decrypt (Options.Kernel is Require).
	ErrKernel = errors.New("the client would not outlive the daemon")
)

// ErrTruncated is the end of a stream without close_notify: what was sent last may be missing.
var ErrTruncated = errors.New("the connection has ended without TLS's close_notify")

// Info is what a handshake has found out.
type Info struct {
	record.TLS
	// Kernel reports whether the kernel encrypts and decrypts. If not, Reason says why.
	Kernel bool
	Reason string
}

// Conn implements conn.Conn. Before Handshake it is the connection below it.
type Conn struct {
	conn.Conn
	layer
}

// layer is what encrypts and decrypts.
type layer interface{}

// New returns a connection that is yet to make its handshake.
func New(below conn.Conn) *Conn { return &Conn{Conn: below} }

// Resume returns a connection of the previous process whose keys the kernel has.
func Resume(below conn.Conn, left Left) *Conn { return &Conn{Conn: below} }

// Handshake makes the handshake as the server, reading nothing behind it. stop is asked whenever a
// wait ends early (Wake): it reports whether to give up. keep returns what keeps the connection for
// the next process, once the kernel is to have it; it may return nil. The session's goroutine calls
// it, once.
func (c *Conn) Handshake(opt *Options, stop func() error, keep func() Memory) (Info, error) {
	return Info{}, errors.ErrUnsupported
}

// CloseNotify tells the client that the stream has ended. It is called before Close, unless the
// next process goes on with the connection.
func (c *Conn) CloseNotify() {}

// Probe says why the kernel cannot encrypt and decrypt; nil if it can.
func Probe() error { return errors.ErrUnsupported }

// State is what the kernel has of a socket's TLS.
type State uint8

// States of a socket.
const (
	Clear      State = iota // it has never heard of TLS, or has no keys
	Encrypting              // it has the keys of both directions
	Partial                 // it has one key: a process died in between
)

// StateOf asks the kernel about the socket fd, and whether anything was sent with its keys.
func StateOf(fd uintptr) (s State, sent bool) { return Clear, false }

// Waiting returns how many bytes of the stream have arrived at the socket fd, which the kernel
// decrypts, and were not taken; it counts at most 64 KiB.
func Waiting(fd uintptr) int { return 0 }

// Skip takes n bytes of those from the socket.
func Skip(fd uintptr, n int, m Memory) error { return errors.ErrUnsupported }
