package conn

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sockaddr"
)

// socket is what Poll and Thread have in common: the calls that never wait. The session's goroutine
// makes them; it alone closes the descriptor.
type socket int32

// Readable implements Conn.
func (s socket) Readable() (some, ended bool) {
	fds := [1]unix.PollFd{{Fd: int32(s), Events: unix.POLLIN | unix.POLLRDHUP}}
	_, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil)
	if err != nil {
		return true, false // Peek tells
	}
	return fds[0].Revents != 0, fds[0].Revents&unix.POLLRDHUP != 0
}

// Peek implements Conn.
func (s socket) Peek(buf []byte) (int, error) {
	return receive(uintptr(s), unsafe.Pointer(&buf[0]), len(buf), unix.MSG_PEEK)
}

// Take implements Conn.
func (s socket) Take(buf []byte) (int, error) {
	return receive(uintptr(s), unsafe.Pointer(&buf[0]), len(buf), 0)
}

// Discard implements Conn.
func (s socket) Discard(n int) error { return Discard(uintptr(s), n) }

// Unread implements Conn.
func (s socket) Unread() int { return Unread(uintptr(s)) }

// Failure implements Conn.
func (s socket) Failure() error {
	// Getting it fails only if it is no socket.
	if errno, _ := unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_ERROR); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// SetLowWater implements Conn.
func (s socket) SetLowWater(n int) {
	_ = unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) // it takes any number
}

// TryWrite implements Conn.
func (s socket) TryWrite(b []byte) (int, error) {
	n, err := s.send(b)
	return n, os.NewSyscallError("send", err)
}

// send is TryWrite; the error is the bare one.
func (s socket) send(b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR: // with TLS in the kernel; it says nothing about room
		default:
			return 0, errno
		}
	}
}

// SetNoDelay implements Conn.
func (s socket) SetNoDelay() {
	// Without it, it is only slower.
	_ = unix.SetsockoptInt(int(s), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// Calls that are made directly do not tell Go's scheduler, which would be as dear as some of them:
// they never wait. MSG_DONTWAIT is for descriptors that block because a program that has them too
// wants that.

// Discard removes n bytes that have arrived from the socket fd, without copying them (tcp(7),
// MSG_TRUNC).
func Discard(fd uintptr, n int) error {
	for n > 0 {
		m, err := receive(fd, nil, n, unix.MSG_TRUNC)
		if err == unix.EFAULT {
			m, err = discardCopied(fd, n)
		}
		if err == nil && m == 0 {
			err = unix.ECONNRESET
		}
		if err != nil {
			return os.NewSyscallError("recv", err)
		}
		n -= m
	}
	return nil
}

// discarded is what discardCopied copies to. Nobody reads it, so all may write to it at once.
var discarded [16 << 10]byte

// discardCopied is one step of Discard for a kind of socket that copies even with MSG_TRUNC, such
// as those of unix(7).
func discardCopied(fd uintptr, n int) (int, error) {
	return receive(fd, unsafe.Pointer(&discarded), min(n, len(discarded)), 0)
}

func receive(fd uintptr, buf unsafe.Pointer, n, flags int) (int, error) {
	for {
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(buf), uintptr(n),
			uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
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

// Unread returns how many bytes have arrived at the socket fd and were not removed; 0 on an error.
func Unread(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// HangUp is that of a Conn, for a descriptor that has none.
func HangUp(fd uintptr) {
	_ = unix.Shutdown(int(fd), unix.SHUT_RDWR) // it fails when the client has gone
	_ = Discard(fd, Unread(fd))                // as does this
}

// Refuse sends text, if the client takes it at once, and ends the connection for the client; the
// descriptor stays open. What the client has sent is removed, as a close would otherwise take the
// text back (RFC 1122, section 4.2.2.13). An empty text does nothing.
func Refuse(fd uintptr, text string) {
	if text == "" {
		return
	}
	// It fails when the client has gone or takes nothing now.
	_, _ = unix.Write(int(fd), []byte(text))
	closeWrite(fd)
	_ = Discard(fd, Unread(fd)) // it fails when the client has gone
}

// closeWrite shuts down our direction; a client that has gone need not be told.
func closeWrite(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }

// controller has Control.
type controller interface{ Control(f func(fd uintptr)) }

func localAddr(c controller) (addr sockaddr.Local) {
	c.Control(func(fd uintptr) {
		if sa, err := syscall.Getsockname(int(fd)); err == nil {
			addr = sockaddr.LocalOf(sa)
		}
	})
	return addr
}
