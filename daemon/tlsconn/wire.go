package tlsconn

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// wire is the connection below as crypto/tls uses it. During the handshake a Read waits, and reads
// nothing behind the TLS record that it is in, so that what follows the handshake stays in the
// kernel. After it no Read waits: it returns errLater.
type wire struct {
	below conn.Conn
	exact bool
	left  int     // of the record that a Read is in
	head  [5]byte // of the record
	have  int     // bytes of head
	first byte    // of the connection
	any   bool    // there was one

	deadline  time.Time
	interrupt Interrupt
	failed    error // what a Read or a Write has returned: crypto/tls may make another one of it

	ended   bool // the client has closed: crypto/tls takes that for a close_notify
	drained bool // the last Read has left nothing: until fresh, the next one does not ask the socket

	// What is sent after the handshake. crypto/tls sends by itself too, while it reads: the
	// answers to a client's KeyUpdates, and alerts.
	writer  atomic.Bool // the session has something written
	mu      sync.Mutex
	out     []byte      // records that the socket had no room for
	sending bool        // flush sends what stands before out
	answers int         // bytes of out that the session has not had written
	crowded atomic.Bool // there were more than maxAnswers: crypto/tls tells of another error
}

// maxAnswers bounds what a client that reads nothing may have wait for it.
const maxAnswers = 16 << 10

var errAnswers = errors.New("the client asks for new keys again and again, and reads none")

const recordHeadSize = 5

// errLater is what a Read returns that finds nothing. As it says that it is temporary, crypto/tls
// keeps what it has of a record and goes on at the next Read.
var errLater net.Error = laterError{}

type laterError struct{}

// Error implements error.
func (laterError) Error() string { return "nothing has arrived" }

// Timeout implements net.Error.
func (laterError) Timeout() bool { return true }

// Temporary implements net.Error.
func (laterError) Temporary() bool { return true }

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	if !w.exact {
		return w.readNow(b)
	}
	if w.left == 0 {
		b = b[:min(len(b), recordHeadSize-w.have)]
	} else {
		b = b[:min(len(b), w.left)]
	}
	n, err := w.readWaiting(b)
	if err != nil {
		w.failed = err
		return 0, err
	}
	w.passed(b[:n])
	return n, nil
}

// passed notes what was read of a record.
func (w *wire) passed(b []byte) {
	if !w.any {
		w.any, w.first = true, b[0]
	}
	if w.left > 0 {
		w.left -= len(b)
		return
	}
	w.have += copy(w.head[w.have:], b)
	if w.have == recordHeadSize {
		w.left, w.have = int(binary.BigEndian.Uint16(w.head[3:])), 0
	}
}

// readNow reads what there is; io.EOF is not an error of the socket's.
func (w *wire) readNow(b []byte) (int, error) {
	if w.drained {
		return 0, errLater
	}
	n, err := w.below.Take(b)
	switch {
	case err == unix.EAGAIN:
		return 0, errLater
	case err != nil:
		return 0, os.NewSyscallError("recv", err)
	}
	if n == 0 {
		w.ended = true
		return 0, io.EOF
	}
	w.drained = n < len(b) && !w.exact
	return n, nil
}

// fresh has the next Read ask the socket in any case. It is called at the beginning of each look at
// the connection: what arrives after that wakes a wait.
func (w *wire) fresh() { w.drained = false }

// readWaiting waits for something to read.
func (w *wire) readWaiting(b []byte) (n int, err error) {
	for {
		w.below.SetReadDeadline(w.deadline)
		werr := w.below.Wait(func() bool {
			n, err = w.readNow(b)
			return err != errLater
		})
		if werr == nil {
			return n, err
		}
		if !errors.Is(werr, os.ErrDeadlineExceeded) || !time.Now().Before(w.deadline) {
			return 0, werr
		}
		until, err := w.interrupt(w.any)
		if err != nil {
			return 0, err
		}
		if !until.IsZero() && until.Before(w.deadline) {
			w.deadline = until
		}
	}
}

// Write implements net.Conn: what the socket has no room for waits in out.
func (w *wire) Write(b []byte) (int, error) {
	if w.exact {
		w.below.SetWriteDeadline(w.deadline)
		if err := w.below.Write(b); err != nil {
			w.failed = err
			return 0, err
		}
		return len(b), nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.writer.Load() && (len(w.out) > 0 || w.sending) {
		if w.answers += len(b); w.answers > maxAnswers {
			w.crowded.Store(true)
			return 0, errAnswers
		}
	}
	if w.sending || len(w.out) > 0 {
		w.out = append(w.out, b...)
		return len(b), w.flushNowLocked()
	}
	n, err := w.below.TryWrite(b)
	w.out = append(w.out, b[n:]...) // mostly nothing: no allocation
	return len(b), err
}

// flushNow sends what fits of out, and reports whether that is all.
func (w *wire) flushNow() (all bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err = w.flushNowLocked()
	return len(w.out) == 0, err
}

func (w *wire) flushNowLocked() error {
	if w.sending || len(w.out) == 0 {
		return nil
	}
	n, err := w.below.TryWrite(w.out)
	if w.out = w.out[n:]; len(w.out) == 0 {
		w.out, w.answers = nil, 0
	}
	return err
}

// flush sends all of out. Others may add to it meanwhile.
func (w *wire) flush() (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sending = true
	for len(w.out) > 0 && err == nil {
		b := w.out
		w.out, w.answers = nil, 0
		w.mu.Unlock()
		err = w.below.Write(b)
		w.mu.Lock()
	}
	w.sending = false
	if err != nil {
		w.out = nil // after an error nothing is sent any more
	}
	return err
}

// The rest of net.Conn. crypto/tls closes nothing here and sets deadlines only to close.

// Close implements net.Conn.
func (w *wire) Close() error { return nil }

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(w.below.LocalAddr().AddrPort) }

// RemoteAddr implements net.Conn. Nothing needs it.
func (w *wire) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
