// Package sockopt sets the options of connections.
package sockopt

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SetUrgent has urgent bytes stay in the stream of the connection fd. It is for those of unix(7),
// which do not inherit the option from the socket that listens.
func SetUrgent(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1))
}

// Set sets the options of the connection fd, or of those that a listening socket fd will have:
//
//   - it ends after lost without a sign of life, which is in whole seconds: by probes in the second
//     half of that time if there is nothing to send, and by data that is not acknowledged (tcp(7))
//   - small writes are sent at once
//   - urgent bytes stay in the stream (RFC 6093, section 4)
//
// A kind of socket that lacks some does without them: MPTCP (SocketProtocol=mptcp), and those of
// unix(7).
func Set(fd int, lost time.Duration) error {
	seconds := int(lost / time.Second)
	idle := seconds / 2
	interval := max((seconds-idle)/4, 1)
	for _, o := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, interval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, min((seconds-idle)/interval, 127)},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lost / time.Millisecond)},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
	} {
		err := unix.SetsockoptInt(fd, o.level, o.name, o.value)
		if err != nil && err != unix.EOPNOTSUPP && err != unix.ENOPROTOOPT {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}
