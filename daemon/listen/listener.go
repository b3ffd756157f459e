// Package listen gives listeners their sockets: bound by the daemon, or passed in by systemd. It
// knows nothing of who is served on them.
package listen

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/sockopt"
	"tcpmux/daemon/unixsocket"
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
	Addr sockaddr.Local
	// Inherited reports whether another process, such as systemd, holds the socket too:
	// connections that are not accepted wait for the next process. It is also true for a socket
	// that systemd should have passed in.
	Inherited bool

	unix  unixsocket.Options // what Bind makes, if Addr is a unix socket
	muxed bool               // there is no socket
	made  *unixsocket.Socket // whose file is removed when nobody is to connect any more; nil: none
}

// Muxed returns the place of a listener without a socket, which clients reach through a mux.
func Muxed(name string) *Listener { return &Listener{Name: name, muxed: true} }

// IsMuxed reports whether it is from Muxed.
func (ln *Listener) IsMuxed() bool { return ln.muxed }

// String names the listener and its address for an error. It is safe to print.
func (ln *Listener) String() string {
	if ln.muxed {
		return fmt.Sprintf("listener %q", ln.Name)
	}
	return fmt.Sprintf("listener %q (%s)", ln.Name, ln.Addr)
}

// Close closes the socket, if there is one, after Unlink.
func (ln *Listener) Close() error {
	if ln.File == nil {
		return nil
	}
	return errors.Join(ln.Unlink(), ln.File.Close())
}

// Unlink removes the file of a unix socket that this program or the one before has made, unless
// another process holds the socket too. Nobody can connect any more, and those that wait in the
// backlog can be accepted.
func (ln *Listener) Unlink() error {
	if ln.Inherited {
		return nil
	}
	return ln.made.Remove()
}

// madeSuffix ends the name of a unix socket whose file is to be removed by the program that it is
// passed to. No listener's name has a plus sign, and LISTEN_FDNAMES no name with a colon.
const madeSuffix = "+made"

// PassedName returns the name under which the socket is passed to the next program, which removes
// no file but that of the socket.
func (ln *Listener) PassedName() string {
	if ln.made.InPlace() {
		return ln.Name + madeSuffix
	}
	return ln.Name
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
	return ln.Control(func(fd int) error {
		if err := sockopt.Set(fd, lost); err != nil {
			return err
		}
		name, err := syscall.Getsockname(fd)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		// Not written again: sessions read it.
		if addr := sockaddr.LocalOf(name); addr != ln.Addr {
			ln.Addr = addr
		}
		return nil
	})
}

// deferSeconds is how long a connection may wait in the kernel for the client's first bytes, about.
// Then it is accepted without them.
const deferSeconds = 1

// Defer has connections be accepted when the client has said something, if on is true (tcp(7),
// TCP_DEFER_ACCEPT): it saves a wait where clients speak first. Only listeners of TCP have that.
func (ln *Listener) Defer(on bool) error {
	seconds := 0
	if on {
		seconds = deferSeconds
	}
	return ln.Control(func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds)
		if err == unix.EOPNOTSUPP || err == unix.ENOPROTOOPT {
			return nil
		}
		return os.NewSyscallError("setsockopt", err)
	})
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
