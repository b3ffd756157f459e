// Package listen gives listeners their sockets: bound by the daemon, or passed in by systemd. It
// knows nothing of who is served on them.
package listen

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sockaddr"
)

// Listener is one socket for one address of a listener, or the place for it. Its methods are for
// one goroutine at a time.
type Listener struct {
	// Name is the listener's, as configured. Several sockets may have the same.
	Name string
	// File is the socket. It does not block, so waiting for clients costs no thread. It is nil
	// until Bind succeeds, unless the socket was passed in.
	File *os.File
	// Address is the configured address of a socket that is to be bound, or that systemd should
	// have passed in. It is "" for a socket that was passed in.
	Address string
	// Addr is the address that the socket is bound to. Before that, it is the value of Address.
	// Prepare updates it.
	Addr netip.AddrPort
	// Inherited reports whether another process, such as systemd, holds the socket too:
	// connections that are not accepted wait for the next process. It is also true for a socket
	// that systemd should have passed in.
	Inherited bool
}

// String names the listener and its address for an error. It is safe to print.
func (ln *Listener) String() string { return fmt.Sprintf("listener %q (%s)", ln.Name, ln.Addr) }

// Close closes the socket, if there is one.
func (ln *Listener) Close() error {
	if ln.File == nil {
		return nil
	}
	return ln.File.Close()
}

// Control calls f with the socket's descriptor, which is valid until f returns, and returns the
// error of f. The listener must have a socket.
func (ln *Listener) Control(f func(fd int) error) error {
	raw, err := ln.File.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// Prepare sets the options that connections inherit from the socket, so that accepting one costs no
// further system calls. lost is how long a peer may give no sign of life. Prepare may be called
// again; that changes later connections only.
func (ln *Listener) Prepare(lost time.Duration) error {
	options := append(keepaliveOptions(lost), option{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1})
	return ln.Control(func(fd int) error {
		for _, o := range options {
			err := unix.SetsockoptInt(fd, o.level, o.name, o.value)
			// MPTCP (SocketProtocol=mptcp) lacks some.
			if err != nil && err != unix.EOPNOTSUPP && err != unix.ENOPROTOOPT {
				return os.NewSyscallError("setsockopt", err)
			}
		}
		// Urgent bytes stay in the stream (RFC 6093, section 4). MPTCP has neither them nor
		// the option.
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
		if err != nil && err != unix.EOPNOTSUPP {
			return os.NewSyscallError("setsockopt", err)
		}
		name, err := syscall.Getsockname(fd)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		// Not written again: sessions read it.
		if addr := sockaddr.From(name); addr != ln.Addr {
			ln.Addr = addr
		}
		return nil
	})
}

// option is an option of a socket.
type option struct{ level, name, value int }

// keepaliveOptions are the options by which the kernel finds out that a peer has vanished, after
// lost without a sign of life: by probes in the second half of that time if there is nothing to
// send, and by data that is not acknowledged (tcp(7)).
func keepaliveOptions(lost time.Duration) []option {
	seconds := int(lost / time.Second)
	idle := seconds / 2
	interval := max((seconds-idle)/4, 1)
	return []option{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, interval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, min((seconds-idle)/interval, 127)},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lost / time.Millisecond)},
	}
}

// Listen makes the socket listen. It may be called again: listen(2) then changes the backlog.
func (ln *Listener) Listen(backlog int) error {
	return ln.Control(func(fd int) error {
		if err := unix.Listen(fd, backlog); err != nil {
			return fmt.Errorf("%w%s", os.NewSyscallError("listen", err), hint(err))
		}
		return nil
	})
}
