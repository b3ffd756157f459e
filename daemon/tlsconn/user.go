package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// user is the layer of a connection whose records crypto/tls encrypts and decrypts. What is
// decrypted and not taken waits in memory, 64 KiB and a record at most.
type user struct {
	tls  *tls.Conn
	wire *wire

	plain []byte           // decrypted, and not taken
	chunk *[plainSize]byte // whose memory plain is; nil while there is none
	end   error            // what comes behind plain; nil: more

	writing sync.Mutex
	owed    int // bytes that are encrypted, and that tryWrite has said were not sent
}

// plainSize is chunkSize and the longest record.
const plainSize = chunkSize + 16<<10

// plains is memory for what is decrypted.
var plains = sync.Pool{New: func() any { return new([plainSize]byte) }}

// fill decrypts until there are n bytes, or nothing more.
func (u *user) fill(n int) {
	u.wire.fresh()
	for len(u.plain) < min(n, chunkSize) && u.end == nil {
		if u.chunk == nil {
			u.chunk = plains.Get().(*[plainSize]byte)
			u.plain = u.chunk[:copy(u.chunk[:], u.plain)]
		}
		if cap(u.plain)-len(u.plain) < 16<<10 {
			u.plain = u.chunk[:copy(u.chunk[:], u.plain)]
		}
		got, err := u.tls.Read(u.plain[len(u.plain):cap(u.plain)])
		u.plain = u.plain[:len(u.plain)+got]
		if err == error(errLater) {
			break
		}
		switch {
		case err != nil && u.wire.crowded.Load():
			u.end = errAnswers
		case err == io.EOF && u.wire.ended:
			u.end = ErrTruncated
		default:
			u.end = err
		}
	}
	u.release()
}

// release gives back memory that holds nothing.
func (u *user) release() {
	if len(u.plain) == 0 && u.chunk != nil {
		plains.Put(u.chunk)
		u.plain, u.chunk = nil, nil
	}
}

// settle gives back memory that holds little: the beginning of a message may wait for long.
func (u *user) settle() {
	if u.release(); u.chunk != nil && len(u.plain) < plainSize/2 {
		rest := bytes.Clone(u.plain)
		plains.Put(u.chunk)
		u.plain, u.chunk = rest, nil
	}
}

func (u *user) peek(buf []byte) (int, error) {
	u.fill(len(buf))
	if len(u.plain) > 0 {
		return copy(buf, u.plain), nil
	}
	return endOf(u.end)
}

// endOf returns what a peek does where nothing is left.
func endOf(end error) (int, error) {
	if end == nil {
		return -1, unix.EAGAIN // no allocation
	}
	var op *net.OpError
	switch {
	case errors.Is(end, io.ErrUnexpectedEOF):
		return -1, ErrTruncated
	case errors.Is(end, io.EOF):
		return 0, nil
	case errors.As(end, &op) && op.Op == "remote error":
		return -1, brokenOff{end}
	}
	return -1, end
}

// brokenOff is an alert with which the client has ended the connection.
type brokenOff struct{ error }

// Is has it be taken for a connection that was broken off.
func (brokenOff) Is(target error) bool { return target == unix.ECONNRESET }

func (u *user) take(buf []byte) (int, error) {
	n, err := u.peek(buf)
	if n > 0 {
		u.plain = u.plain[n:]
		u.settle()
	}
	return n, err
}

func (u *user) discard(n int) error {
	if n > len(u.plain) { // it was peeked
		return unix.ECONNRESET
	}
	u.plain = u.plain[n:]
	u.settle()
	return nil
}

func (u *user) unread() int {
	u.fill(chunkSize)
	return len(u.plain)
}

// tryWrite encrypts b, and sends it. If the socket has no room for all records, it says that
// nothing was sent, and the write that follows, of the same bytes, sends the rest.
func (u *user) tryWrite(b []byte) (int, error) {
	u.writing.Lock()
	defer u.writing.Unlock()
	if all, err := u.wire.flushNow(); err != nil || !all {
		return 0, err
	}
	if err := u.encrypt(b); err != nil {
		return 0, err
	}
	if all, err := u.wire.flushNow(); err != nil || !all {
		u.owed = len(b)
		return 0, err
	}
	return len(b), nil
}

// encrypt encrypts b, and sends what fits.
func (u *user) encrypt(b []byte) error {
	u.wire.writer.Store(true)
	defer u.wire.writer.Store(false)
	_, err := u.tls.Write(b)
	return err
}

func (u *user) write(b []byte) error {
	u.writing.Lock()
	defer u.writing.Unlock()
	if err := u.wire.flush(); err != nil {
		return err
	}
	b = b[min(u.owed, len(b)):]
	u.owed = 0
	for len(b) > 0 {
		n := min(len(b), chunkSize) // what is encrypted and waits is bounded
		if err := u.encrypt(b[:n]); err != nil {
			return err
		}
		if err := u.wire.flush(); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// drop does nothing: the connection below has the records.
func (u *user) drop() {}

func (u *user) closeNotify() {
	// One who writes waits for the client, and the alert would have to wait behind.
	if u.writing.TryLock() {
		defer u.writing.Unlock()
		_ = u.tls.CloseWrite() // it fails when the client has gone
	}
}
