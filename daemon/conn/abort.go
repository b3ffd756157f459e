package conn

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Abort breaks the connection off, for everybody who holds it: its peer gets a reset rather than
// the end of the stream (connect(2), AF_UNSPEC). What was sent and is still here is dropped. Where
// the kernel does not do that at once, it does at the last Close (socket(7), SO_LINGER). A unix
// socket knows no resets.
func Abort(c Conn) {
	c.Control(func(fd uintptr) {
		// Errors change nothing: the connection is closed in any case, then without a
		// reset.
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
		_, _, _ = unix.Syscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&none)), unix.SizeofSockaddrInet4)
	})
}

// Broken reports whether a connection whose stream has ended was broken off, though no call has
// said so: the kernel tells only the first. It is asked while our direction is not shut down.
func Broken(c Conn) (broken bool) {
	c.Control(func(fd uintptr) {
		info, ok := GetTCPInfo(fd)
		broken = ok && info.State == closedState
	})
	return broken
}

// closedState is that of a connection that no longer is one.
const closedState = "closed"

// Unsent returns how many bytes that were sent the peer has not acknowledged; 0 on an error.
func Unsent(c Conn) (n int) {
	c.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) // 0 then
	})
	return n
}
