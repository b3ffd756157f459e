package conn

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Tracked is a connection of a unix socket (unix(7)) with which another process may go on. Of TCP
// the kernel tells how much was taken and whether anything was sent (tcp(7), TCP_INFO); of unix
// sockets it does not, so a Memory is told. The two cannot change in the same moment. What tells
// how far the kernel was, when the process has died in between, is SO_PEEK_OFF (socket(7)): from it
// the kernel subtracts what is taken, while it takes it.
type Tracked struct {
	Conn
	fd     uintptr // the session's goroutine alone closes it
	memory Memory
	// The socket's SO_PEEK_OFF. A peek begins there, and moves it behind what it shows: before
	// a peek it is set to 0, and usually is, as most often all is taken that a peek has shown.
	ahead int
	sent  atomic.Bool
}

// Memory keeps what is known of a Tracked connection where a crash of the process does not reach
// it. The session's goroutine uses it, but for SetSent.
type Memory interface {
	// Taking notes that up to n bytes are about to be taken from the socket, whose SO_PEEK_OFF
	// is ahead.
	Taking(n, ahead int)
	// Taken notes that n of them were.
	Taken(n int)
	// SetSent notes that something was sent. It may be called from any goroutine.
	SetSent()
}

// unknown is that a socket's SO_PEEK_OFF is to be set before it is used.
const unknown = -2

// Track returns the connection below, of whose stream m keeps how far it was taken.
func Track(below Conn, m Memory) *Tracked {
	t := &Tracked{Conn: below, memory: m, ahead: unknown}
	below.Control(func(fd uintptr) { t.fd = fd })
	return t
}

// Peek implements Conn.
func (t *Tracked) Peek(buf []byte) (int, error) {
	if err := t.setAhead(0); err != nil {
		return -1, err
	}
	n, err := t.Conn.Peek(buf)
	t.ahead = max(n, 0)
	return n, err
}

// Take implements Conn.
func (t *Tracked) Take(buf []byte) (int, error) {
	return t.take(len(buf), func() (int, error) { return t.Conn.Take(buf) })
}

// Discard implements Conn.
func (t *Tracked) Discard(n int) error {
	for n > 0 {
		got, err := t.take(n, func() (int, error) { return drain(t.fd, n) })
		if err == nil && got == 0 {
			err = unix.ECONNRESET
		}
		if err != nil {
			return os.NewSyscallError("recv", err)
		}
		n -= got
	}
	return nil
}

// DiscardTracked is Discard of a Tracked, for a descriptor of which there is none.
func DiscardTracked(fd uintptr, n int, m Memory) error {
	t := &Tracked{fd: fd, memory: m, ahead: unknown}
	return t.Discard(n)
}

// take has receive take up to n bytes, and returns what that returns.
func (t *Tracked) take(n int, receive func() (int, error)) (int, error) {
	if t.ahead < n {
		if err := t.setAhead(n); err != nil {
			return -1, err
		}
	}
	t.memory.Taking(n, t.ahead)
	got, err := receive()
	t.memory.Taken(max(got, 0))
	t.ahead -= max(got, 0)
	return got, err
}

// Rest has peeks of others, who have the descriptor too, show what has arrived, as those of a
// socket that is not tracked. It is called before such a peek.
func (t *Tracked) Rest() error { return t.setAhead(-1) }

// Rest is that of a Tracked; other connections need none.
func Rest(c Conn) error {
	if t, tracked := c.(*Tracked); tracked {
		return t.Rest()
	}
	return nil
}

// Layer is a connection over another one.
type Layer interface {
	// Below returns that, if what is written to the layer is in the kernel's keeping or was not
	// taken, as on a socket itself; else nil.
	Below() Conn
	// AwaitRoom waits until there may be room for what the layer itself sends, such as that the
	// stream has ended. It is as Poll.AwaitRoom.
	AwaitRoom() error
}

// PollOf returns the Poll that c is, tracks, or is a Layer over: what is written to c is in the
// socket or was not taken.
func PollOf(c Conn) (p *Poll, ok bool) {
	if l, layer := c.(Layer); layer {
		c = l.Below()
	}
	if t, tracked := c.(*Tracked); tracked {
		c = t.Conn
	}
	p, ok = c.(*Poll)
	return p, ok
}

// setAhead sets SO_PEEK_OFF.
func (t *Tracked) setAhead(n int) error {
	if t.ahead == n {
		return nil
	}
	t.ahead = unknown
	if err := SetPeekOffset(t.fd, n); err != nil {
		return err
	}
	t.ahead = n
	return nil
}

// TryWrite implements Conn.
func (t *Tracked) TryWrite(b []byte) (int, error) {
	n, err := t.Conn.TryWrite(b)
	if n > 0 {
		t.NoteSent()
	}
	return n, err
}

// Write implements Conn.
func (t *Tracked) Write(b []byte) error {
	err := t.Conn.Write(b)
	if err == nil && len(b) > 0 {
		t.NoteSent()
	}
	return err
}

// NoteSent notes that something was sent to the client, also by somebody else. It may be called
// from any goroutine.
func (t *Tracked) NoteSent() {
	if !t.sent.Load() {
		t.sent.Store(true)
		t.memory.SetSent()
	}
}

// PeekOffset returns the SO_PEEK_OFF of the socket fd.
func PeekOffset(fd uintptr) (int, error) {
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	return n, os.NewSyscallError("getsockopt", err)
}

// SetPeekOffset sets the SO_PEEK_OFF of the socket fd; with -1 peeks show again what they have
// shown.
func SetPeekOffset(fd uintptr, n int) error {
	for {
		err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEEK_OFF, n)
		if err != unix.EINTR { // which a unix socket returns while somebody reads from it
			return os.NewSyscallError("setsockopt", err)
		}
	}
}

// drain takes up to n bytes that have arrived from the socket fd, and forgets them.
func drain(fd uintptr, n int) (int, error) {
	var iov [8]unix.Iovec
	filled := 0
	for ; n > 0 && filled < len(iov); filled++ {
		size := min(n, len(discarded))
		iov[filled].Base = &discarded[0]
		iov[filled].SetLen(size)
		n -= size
	}
	head := unix.Msghdr{Iov: &iov[0]}
	head.SetIovlen(filled)
	for {
		got, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&head)), unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			return int(got), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return -1, unix.EAGAIN // no allocation
		default:
			return -1, errno
		}
	}
}
