package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/systemd"
)

// passed is a socket that systemd passed in, looked at more closely.
type passed struct {
	name string
	file *os.File
	addr netip.AddrPort
	ours bool // nobody else holds it
}

// String names the socket in an error, by what systemd calls it and where it listens. It is safe to print.
func (p *passed) String() string { return fmt.Sprintf("socket %q (%s)", p.name, p.addr) }

// inherit gives every socket to a listener: by name, else by address, else in order when the counts agree. What is left over of the
// listeners has no socket, and of the sockets an error that names it.
func inherit(cfg []config.Listener, sockets []systemd.Socket, ipv6 bool) (lns []*listener, left []error) {
	var given []*passed
	for _, s := range sockets {
		p, err := examine(s)
		if err != nil {
			left = append(left, misfit{fmt.Errorf("socket %q passed in by systemd: %w", s.Name, err)})
			continue
		}
		given = append(given, p)
	}
	// Without a service manager, after an upgrade in our own place, what is missing is for us to bind.
	managed := slices.ContainsFunc(sockets, func(s systemd.Socket) bool { return !s.Ours })
	sockOf, wants, surplus := match(cfg, given)
	for _, c := range cfg {
		for _, p := range sockOf[c.Name] {
			lns = append(lns, newListener(c, p.file, !p.ours))
			lns[len(lns)-1].addr = p.addr
		}
		bindable := c.Addresses(ipv6 && !managed) // systemd opens all that there are
		for _, address := range wants[c.Name] {
			if slices.Contains(bindable, address) {
				lns = append(lns, unbound(c, address, managed))
			}
		}
	}
	for _, p := range surplus {
		left = append(left, misfit{nobodys(cfg, p)})
		_ = p.file.Close() // systemd holds it: whoever has connected waits for another daemon
	}
	return lns, left
}

// examine takes a duplicate of a socket, after making sure that it is one that accepts TCP connections.
func examine(s systemd.Socket) (*passed, error) {
	raw, err := s.File.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &passed{name: s.Name, ours: s.Ours}
	cerr := raw.Control(func(fd uintptr) {
		if p.addr, err = tcpListener(int(fd)); err != nil {
			return
		}
		var dup int
		if dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return
		}
		if err = unix.SetNonblock(dup, true); err != nil {
			_ = unix.Close(dup) // what it duplicates stays open
			return
		}
		p.file = os.NewFile(uintptr(dup), s.Name)
	})
	return p, errors.Join(cerr, err)
}

// tcpListener returns the address that fd listens on, or why it does not.
func tcpListener(fd int) (netip.AddrPort, error) {
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("want a TCP listener (ListenStream= with a port): %w", err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return netip.AddrPort{}, err
	}
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	addr := addrPort(name)
	switch {
	case err != nil:
		return addr, err
	case !addr.IsValid() || kind != unix.SOCK_STREAM:
		return addr, errors.New("want a TCP listener (ListenStream= with a port), it is of another kind")
	case accepts == 0:
		return addr, errors.New("want a TCP listener, it is a connection: set Accept=no in the socket unit")
	}
	return addr, nil
}

// match returns which sockets each listener, by its name, serves, for which of its addresses there is none, and which sockets are left.
func match(cfg []config.Listener, sockets []*passed) (sockOf map[string][]*passed, wants map[string][]string, left []*passed) {
	sockOf, wants = make(map[string][]*passed), make(map[string][]string)
	for _, p := range sockets {
		if slices.ContainsFunc(cfg, func(c config.Listener) bool { return c.Name == p.name }) {
			sockOf[p.name] = append(sockOf[p.name], p)
		} else {
			left = append(left, p)
		}
	}
	// What a name has settled is settled; the rest goes by address.
	var names []string // of the listener, for each address that has no socket
	for _, c := range cfg {
		if len(sockOf[c.Name]) > 0 {
			continue
		}
		for _, address := range c.Address {
			i := slices.IndexFunc(left, func(p *passed) bool { return sameAddress(address, p.addr) })
			if i < 0 {
				wants[c.Name], names = append(wants[c.Name], address), append(names, c.Name)
				continue
			}
			sockOf[c.Name] = append(sockOf[c.Name], left[i])
			left = slices.Delete(left, i, i+1)
		}
	}
	if len(names) != len(left) {
		return sockOf, wants, left
	}
	for i, name := range names {
		sockOf[name] = append(sockOf[name], left[i])
	}
	return sockOf, nil, nil
}

// nobodys names a socket that is left over, with the next step.
func nobodys(cfg []config.Listener, p *passed) error {
	var names []string
	for _, c := range cfg {
		names = append(names, c.Name)
	}
	return fmt.Errorf("%v passed in by systemd matches no listener; the configuration has %s: after editing it, "+
		remakeSockets+"; in units of your own, set FileDescriptorName=", p, strings.Join(names, ", "))
}
