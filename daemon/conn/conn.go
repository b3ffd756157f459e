// Package conn is a client's connection as its session uses it: what has arrived is looked at
// before it is taken, so that the kernel keeps it until it is recorded. How the session waits is
// the implementation's affair: Poll sleeps until the poller wakes it, Thread blocks its thread, and
// conntest has a fake for tests.
package conn

import (
	"time"

	"tcpmux/daemon/sockaddr"
)

// Conn is one connection. The session's goroutine uses it; Wake, Expire, CloseWrite, HangUp,
// LocalAddr and Control may be called from any goroutine, also after Close.
type Conn interface {
	// Wait calls try whenever there may be something to read, until try returns true. It
	// returns os.ErrDeadlineExceeded when the read deadline passes, after Wake, and for good
	// after Expire.
	Wait(try func() bool) error
	// Readable reports whether there is as much to read as SetLowWater asks for, or an end, and
	// whether that is the end: nothing more will come.
	Readable() (some, ended bool)
	// Peek copies into buf, which is not empty, what has arrived, and leaves it there. It never
	// waits: the error is unix.EAGAIN when nothing has arrived. No bytes and no error is the
	// end of the stream. A call ends before an urgent byte.
	Peek(buf []byte) (int, error)
	// Take is Peek, and removes what it copies.
	Take(buf []byte) (int, error)
	// Discard removes n bytes that have arrived.
	Discard(n int) error
	// Unread returns how many bytes have arrived and were not removed.
	Unread() int
	// Failure returns the error of a connection that has broken off, which nothing but that has
	// told yet: a peek would behind what has come. It returns that once, as any call does, and
	// nil if there is none.
	Failure() error
	// SetLowWater has Wait and Readable wait for n bytes, or an end, or a full receive buffer
	// (socket(7), SO_RCVLOWAT).
	SetLowWater(n int)

	// TryWrite sends what fits the send buffer now and returns how much that is.
	TryWrite(b []byte) (int, error)
	// Write sends all of b, or returns os.ErrDeadlineExceeded when the write deadline passes
	// first.
	Write(b []byte) error
	// SetReadDeadline is for Wait; the zero time is no deadline.
	SetReadDeadline(t time.Time)
	// SetWriteDeadline is for Write; the zero time is no deadline.
	SetWriteDeadline(t time.Time)

	// Wake makes the Wait that is under way, or else the next one, return. It is never lost,
	// and not undone by SetReadDeadline. After that a Wait may return at once until
	// SetReadDeadline is called. For a Thread it takes effect when its Wakeup is rung.
	Wake()
	// Expire makes every Wait and every Write return, from now on and for good. For a Thread it
	// takes effect when its Wakeup is rung.
	Expire()
	// CloseWrite tells the client that nothing more will be sent to it.
	CloseWrite()
	// HangUp ends the connection in both directions for everybody who holds it, and removes
	// what has arrived: unread, it would have the kernel break the connection off, and the
	// client lose what it has not read yet (RFC 2525, section 2.17).
	HangUp()
	// SetNoDelay has small writes sent at once (tcp(7), TCP_NODELAY).
	SetNoDelay()
	// LocalAddr returns our end's address; the zero value after Close.
	LocalAddr() sockaddr.Local
	// Control calls f with the descriptor, unless it is closed.
	Control(f func(fd uintptr))
	// Close closes the descriptor. It may be called again.
	Close()
}
