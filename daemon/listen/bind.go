package listen

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/unixsocket"
)

// Bind gives the listener a socket that is bound to its Address. The socket does not listen yet.
// An Inherited listener is not bound: the error says why systemd passed in no socket, as far as
// that is known. Errors that a restart does not remove are Misfits.
func (ln *Listener) Bind() error {
	if ln.Inherited {
		return Misfit{notPassed(portFaults, ln.Address)}
	}
	if ln.Addr.Unix() {
		return ln.bindUnix()
	}
	file, err := bind(ln.Name, ln.Address)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return Misfit{fmt.Errorf("%w%s", err, hint(err))}
	}
	if err != nil {
		return fmt.Errorf("%w%s", err, hint(err))
	}
	ln.File = file
	return nil
}

// bindUnix is Bind for a unix socket, which listens: before that nobody could tell it from one that
// is left over.
func (ln *Listener) bindUnix() error {
	made, err := unixsocket.Listen(ln.unix)
	if errors.Is(err, unixsocket.ErrNoGroup) {
		return Misfit{err}
	}
	if err != nil {
		return fmt.Errorf("%w%s", err, unixHint(err))
	}
	ln.made, ln.File = made, made.File
	return nil
}

// unixHint is hint for unix sockets.
func unixHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return " (there is no such directory; under systemd, a unit of its own can make it: RuntimeDirectory=)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return " (the daemon may write to no file there)"
	}
	return ""
}

// bind returns a socket that is bound to address.
func bind(name, address string) (*os.File, error) {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	addr := tcp.AddrPort()
	family := unix.AF_INET6
	if addr.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), name)
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil && family == unix.AF_INET6 {
		// "0.0.0.0:80" and "[::]:80" are two sockets, as with BindIPv6Only=ipv6-only of
		// systemd.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr.To(addr, tcp.Zone)))
	}
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	return file, nil
}

// hint names the next step for errors that people meet often.
func hint(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return " (another program listens there: see ss -ltnp)"
	case errors.Is(err, unix.EACCES):
		return " (ports below 1024 need CAP_NET_BIND_SERVICE, or a socket that systemd passes in)"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return " (no interface has this address)"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return " (systemd passed in no socket and its unit lets the daemon open none: " +
			"systemctl restart tcpmux.socket)"
	}
	return ""
}
