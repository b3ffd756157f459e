package daemon

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What follows waits for nothing, whether the connection blocks or not: a program that has it too may want it to. The calls
// are made directly: those of x/sys/unix ask for an address too, which a connection has only one of.

// peek copies into buf, which is not empty, what there is to read, and leaves it there (recv(2), MSG_PEEK). It ends at an urgent
// byte, and begins with one.
func peek(fd uintptr, buf []byte) (int, error) {
	return recv(fd, unsafe.Pointer(&buf[0]), len(buf), unix.MSG_PEEK)
}

// discard takes n bytes from the socket that are there, without copying them (tcp(7), MSG_TRUNC).
func discard(fd uintptr, n int) error {
	for n > 0 {
		m, err := recv(fd, nil, n, unix.MSG_TRUNC)
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

// discardCopied is discard, once, for a kind of socket that copies all the same. Its buffer is on no other's stack.
//
//go:noinline
func discardCopied(fd uintptr, n int) (int, error) {
	var buf [1 << 10]byte
	return recv(fd, unsafe.Pointer(&buf), min(n, len(buf)), 0)
}

func recv(fd uintptr, buf unsafe.Pointer, n, flags int) (int, error) {
	for {
		got, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(buf), uintptr(n), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
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

// unread is how many bytes there are to read; on an error none.
func unread(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// ready says whether there is something to read (socket(7), SO_RCVLOWAT), and whether nothing more will come: the client has
// closed, or the connection is broken.
func ready(fd uintptr) (something, over bool) {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	_, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil)
	if err != nil {
		return true, false // a look will tell
	}
	return fds[0].Revents != 0, fds[0].Revents&unix.POLLRDHUP != 0
}
