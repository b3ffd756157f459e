package tlsconn

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// kernel is the layer of a socket whose records the kernel encrypts and decrypts.
type kernel struct {
	below  conn.Conn
	fd     uintptr // the session's goroutine alone closes it
	memory Memory  // nil: nothing is kept
	suite  uint16
	// The traffic secrets of both directions, for a KeyUpdate.
	client, server []byte

	// Of what the last peek has shown, while it is still all in the socket: how many bytes, and
	// the last of them.
	seen    int
	last    byte
	landing [1]byte // where the last byte that is taken lands, without memory
	renewed int     // KeyUpdates that the peek under way has come upon

	writing sync.Mutex // a record with an old key must not follow a KeyUpdate
}

// chunkSize is how much is taken from a socket at a time.
const chunkSize = 64 << 10

// chunks is memory for what is taken and not wanted.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// newKernel returns the layer of the connection below.
func newKernel(below conn.Conn, m Memory, s Secured) *kernel {
	k := &kernel{below: below, memory: m, suite: s.Suite, client: s.Client, server: s.Server}
	below.Control(func(fd uintptr) { k.fd = fd })
	return k
}

func (k *kernel) peek(buf []byte) (int, error) {
	k.renewed = 0
	for {
		n, kind, err := receive(k.fd, buf, nil, unix.MSG_PEEK)
		switch {
		case err == unix.EAGAIN:
			return -1, err
		case err == unix.EKEYEXPIRED: // the process died that was about to renew the keys
			err = k.rekey(true)
		case err != nil:
			return -1, err
		case n > 0 && (kind == recordData || kind == 0):
			k.seen, k.last = n, buf[n-1]
			return n, nil
		case kind == recordData:
			return emptyRecord(k.fd)
		case kind == 0:
			return -1, ErrTruncated
		default:
			err = k.handle(kind)
		}
		switch {
		case err == io.EOF:
			return 0, nil
		case err != nil:
			return -1, err
		}
	}
}

// emptyRecord is what a peek returns that shows an empty record, and nothing else: that cannot be
// taken alone. What follows it shows with it, but for an alert: then the end of the connection
// tells.
func emptyRecord(fd uintptr) (int, error) {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if n, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil); err == nil && n > 0 {
		return -1, ErrTruncated
	}
	return -1, unix.EAGAIN
}

// handle handles a record that is no data. An alert stays in the socket, so that the next process
// sees it too; io.EOF is close_notify.
func (k *kernel) handle(kind byte) error {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	flags := unix.MSG_PEEK
	if kind == recordHandshake {
		flags = 0
	}
	n, _, err := receive(k.fd, chunk[:], nil, flags) // whole: the first peek may have had little room
	if err != nil {
		return err
	}
	body := chunk[:n]
	switch kind {
	case recordAlert:
		return parseAlert(body)
	case recordHandshake:
		request, err := parseKeyUpdate(body)
		if err != nil {
			return err
		}
		return k.rekey(request)
	}
	return fmt.Errorf("a TLS record of type %d, which no client sends then", kind)
}

// parseAlert returns the error that an alert stands for (RFC 8446, section 6); io.EOF is
// close_notify.
func parseAlert(body []byte) error {
	switch {
	case len(body) != 2:
		return fmt.Errorf("a TLS alert of %d bytes, want 2", len(body))
	case body[1] == alertCloseNotify:
		return io.EOF
	}
	return alertError(body[1])
}

// parseKeyUpdate parses a handshake record that must be a KeyUpdate, and reports whether that asks
// for another one (RFC 8446, section 4.6.3).
func parseKeyUpdate(body []byte) (request bool, err error) {
	if len(body) != 5 || body[0] != messageKeyUpdate || body[1] != 0 || body[2] != 0 || body[3] != 1 || body[4] > 1 {
		return false, errors.New("a TLS handshake message that is no KeyUpdate: the client may send no other then")
	}
	return body[4] == 1, nil
}

// maxRenewed is how many KeyUpdates may follow each other at once, as crypto/tls has it. They cost us
// more than the client, and while one is there the session sees nothing else.
const maxRenewed = 16

var errRenewed = errors.New("the client renews its keys again and again, and says nothing")

// rekey gives the kernel the client's next key and, if the client asks for that, ours.
func (k *kernel) rekey(ours bool) error {
	if k.renewed++; k.renewed > maxRenewed {
		return errRenewed
	}
	s, known := suites[k.suite]
	if !known {
		return fmt.Errorf("the client has renewed its keys, which cipher suite %#x cannot here", k.suite)
	}
	client, err := s.next(s.inForce(k.fd, tlsRX, k.client))
	if err != nil {
		return err
	}
	if err := setKey(k.fd, tlsRX, &s, client); err != nil {
		return fmt.Errorf("the client has renewed its keys, which needs Linux 6.14 or later: %w", err)
	}
	k.client = client
	k.note(client, nil)
	if !ours {
		return nil
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := sendRecord(k.fd, recordHandshake, []byte{messageKeyUpdate, 0, 0, 1, 0}); err != nil {
		return fmt.Errorf("renew our keys: %w", err)
	}
	server, err := s.next(s.inForce(k.fd, tlsTX, k.server))
	if err != nil {
		return err
	}
	if err := setKey(k.fd, tlsTX, &s, server); err != nil {
		return fmt.Errorf("renew our keys: %w", err)
	}
	k.server = server
	k.note(nil, server)
	return nil
}

func (k *kernel) note(client, server []byte) {
	if k.memory != nil {
		k.memory.Rekey(client, server)
	}
}

func (k *kernel) take(buf []byte) (n int, err error) {
	if n, err = k.peek(buf); err != nil || n == 0 {
		return n, err
	}
	if err := k.takeSeen(buf[:n], k.last); err != nil {
		return -1, err
	}
	return n, nil
}

// discard takes what a peek has shown, in pieces of which the last byte is known.
func (k *kernel) discard(n int) error {
	if n == 0 {
		return nil
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	for n > 0 {
		piece := chunk[:min(n, len(chunk))]
		if k.seen != len(piece) {
			got, err := k.peek(piece)
			if err != nil || got < len(piece) {
				return fmt.Errorf("take %d bytes: %d are there: %w", n, got, errors.Join(err, unix.ECONNRESET))
			}
		}
		if err := k.takeSeen(piece, k.last); err != nil {
			return err
		}
		n -= len(piece)
	}
	return nil
}

// takeSeen takes len(buf) bytes into buf, of which the last is last.
func (k *kernel) takeSeen(buf []byte, last byte) error {
	k.seen = 0
	end := len(buf) - 1
	landing := k.landing[:]
	if k.memory != nil {
		landing = unsafe.Slice(k.memory.Taking(len(buf), last), 1)
	}
	n, kind, err := receive(k.fd, buf[:end], landing, 0)
	switch {
	case err != nil:
		return err
	case n != len(buf) || kind == recordAlert:
		// What a peek has shown cannot have gone.
		return fmt.Errorf("take %d bytes: got %d of type %d", len(buf), n, kind)
	}
	buf[end] = landing[0]
	if k.memory != nil {
		k.memory.Taken()
	}
	return nil
}

func (k *kernel) unread() int {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	n, err := k.peek(chunk[:])
	if err != nil {
		return 0
	}
	return n
}

func (k *kernel) tryWrite(b []byte) (int, error) {
	k.writing.Lock()
	defer k.writing.Unlock()
	return k.below.TryWrite(b)
}

func (k *kernel) write(b []byte) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	return k.below.Write(b)
}

func (k *kernel) closeNotify() {
	// It fails when the client has gone or takes nothing; again it is one alert too many, which
	// the kernel refuses once our direction is shut down.
	k.below.Control(func(fd uintptr) { _ = sendRecord(fd, recordAlert, []byte{alertWarning, alertCloseNotify}) })
}

// maxDropped bounds what drop takes, in chunks: a client that goes on sending is broken off.
const maxDropped = 128

func (k *kernel) drop() {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	k.below.Control(func(fd uintptr) {
		for range maxDropped {
			if n, _, err := receive(fd, chunk[:], nil, 0); err != nil || n <= 0 {
				return
			}
		}
	})
}

// Waiting returns how many bytes of the stream have arrived at the socket fd, which the kernel
// decrypts, and were not taken; it counts at most 64 KiB.
func Waiting(fd uintptr) int {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	n, kind, err := receive(fd, chunk[:], nil, unix.MSG_PEEK)
	if err != nil || kind != recordData {
		return 0
	}
	return n
}

// Skip takes n bytes of those from the socket.
func Skip(fd uintptr, n int, m Memory) error {
	k := &kernel{fd: fd, memory: m}
	return k.discard(n)
}
