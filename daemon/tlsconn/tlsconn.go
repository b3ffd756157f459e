// Package tlsconn is a client's connection that speaks TLS, as its session uses it: a conn.Conn
// over another one. crypto/tls does the handshake. Then the kernel encrypts and decrypts, where it
// can (kTLS, Documentation/networking/tls.rst of Linux): the connection is a socket like any other,
// and outlives the process. Else crypto/tls goes on, and the connection ends with the process.
//
// Nothing that has arrived is taken before the session says so, in the kernel or not. A stream that
// ends without the client's close_notify ends with ErrTruncated.
package tlsconn

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
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
	// Kept reports whether the next process could go on with the connection.
	Kept bool
}

// Conn implements conn.Conn. Before Handshake it is the connection below it. One goroutine may
// write while another reads.
type Conn struct {
	conn.Conn // below
	layer     layer
	secured   atomic.Bool // layer is set: for other goroutines than the session's
}

// layer encrypts and decrypts. Its methods are as those of a conn.Conn.
type layer interface {
	peek(buf []byte) (int, error)
	take(buf []byte) (int, error)
	discard(n int) error
	unread() int
	tryWrite(b []byte) (int, error)
	write(b []byte) error
	// closeNotify sends close_notify, if that can be done at once. It may be called from any
	// goroutine.
	closeNotify()
	// drop removes what has arrived, as far as the connection below cannot do that. It may be
	// called from any goroutine.
	drop()
}

// New returns a connection that is yet to make its handshake.
func New(below conn.Conn) *Conn { return &Conn{Conn: below} }

// Resume returns a connection of the previous process whose keys the kernel has.
func Resume(below conn.Conn, left Left) *Conn {
	c := New(below)
	c.secure(newKernel(below, left.Memory, left.Secured))
	return c
}

// secure has a layer encrypt and decrypt from now on.
func (c *Conn) secure(l layer) {
	c.layer = l
	c.secured.Store(true)
}

// Below implements conn.Layer: once the kernel encrypts, it has what is written.
func (c *Conn) Below() conn.Conn {
	if _, ok := c.layer.(*kernel); !ok {
		return nil
	}
	return c.Conn
}

// AwaitRoom implements conn.Layer.
func (c *Conn) AwaitRoom() error {
	if p, ok := conn.PollOf(c.Conn); ok {
		return p.AwaitRoom()
	}
	return nil
}

// Readable implements conn.Conn. What stands behind data does not show before that is taken, and so
// an end neither.
func (c *Conn) Readable() (some, ended bool) {
	if c.layer == nil {
		return c.Conn.Readable()
	}
	return true, false
}

// Peek implements conn.Conn.
func (c *Conn) Peek(buf []byte) (int, error) {
	if c.layer == nil {
		return c.Conn.Peek(buf)
	}
	return c.layer.peek(buf)
}

// Take implements conn.Conn.
func (c *Conn) Take(buf []byte) (int, error) {
	if c.layer == nil {
		return c.Conn.Take(buf)
	}
	return c.layer.take(buf)
}

// Discard implements conn.Conn.
func (c *Conn) Discard(n int) error {
	if c.layer == nil {
		return c.Conn.Discard(n)
	}
	return c.layer.discard(n)
}

// MaxUnread is how far Unread counts: when it returns as much, or more, that may not be all.
const MaxUnread = chunkSize

// Unread implements conn.Conn, up to MaxUnread.
func (c *Conn) Unread() int {
	if c.layer == nil {
		return c.Conn.Unread()
	}
	return c.layer.unread()
}

// SetLowWater implements conn.Conn. It does nothing: the kernel would count the bytes of records
// that are still encrypted.
func (c *Conn) SetLowWater(n int) {
	if c.layer == nil {
		c.Conn.SetLowWater(n)
	}
}

// TryWrite implements conn.Conn.
func (c *Conn) TryWrite(b []byte) (int, error) {
	if c.layer == nil {
		return c.Conn.TryWrite(b)
	}
	return c.layer.tryWrite(b)
}

// Write implements conn.Conn.
func (c *Conn) Write(b []byte) error {
	if c.layer == nil {
		return c.Conn.Write(b)
	}
	return c.layer.write(b)
}

// CloseWrite implements conn.Conn.
func (c *Conn) CloseWrite() {
	c.CloseNotify()
	c.Conn.CloseWrite()
}

// HangUp implements conn.Conn.
func (c *Conn) HangUp() {
	c.CloseNotify()
	if c.secured.Load() {
		c.layer.drop()
	}
	c.Conn.HangUp()
}

// CloseNotify tells the client that the stream has ended. It is called before Close, unless the
// next process goes on with the connection. It may be called from any goroutine, and again.
func (c *Conn) CloseNotify() {
	if c.secured.Load() {
		c.layer.closeNotify()
	}
}
