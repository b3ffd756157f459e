package listen

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/unixsocket"
)

// Open returns a Listener for each configured address. If sockets were passed in, each goes to the
// listener with its name, or else to the one with its address. Those that remain go in order if the
// counts agree. A Listener that gets no socket needs Bind. Each error in left is a Misfit and names
// a socket that no listener takes. ipv6 reports whether the daemon can bind IPv6 addresses.
//
// The caller still has to close sockets: a Listener has a duplicate.
func Open(cfg []config.Listener, sockets []systemd.Socket, ipv6 bool) (
	lns []*Listener, left []error,
) {
	if len(sockets) > 0 {
		return inherit(cfg, sockets, ipv6)
	}
	for _, c := range cfg {
		for _, address := range c.Addresses(ipv6) {
			lns = append(lns, unbound(c, address, false))
		}
	}
	return lns, nil
}

// unbound returns a listener that has no socket yet.
func unbound(c config.Listener, address string, inherited bool) *Listener {
	return &Listener{
		Name: c.Name, Address: address, Addr: sockaddr.ParseLocal(address), Inherited: inherited,
		unix: unixsocket.Options{Path: config.UnixPath(address), Mode: c.Mode, Group: c.Group, Backlog: c.Backlog},
	}
}

// inherit is Open with sockets that were passed in.
func inherit(cfg []config.Listener, sockets []systemd.Socket, ipv6 bool) (
	lns []*Listener, left []error,
) {
	var given []*passed
	for _, s := range sockets {
		p, err := examine(s)
		if err != nil {
			left = append(left, Misfit{fmt.Errorf("socket %q passed in by systemd: %w", s.Name, err)})
			continue
		}
		given = append(given, p)
	}
	// Without a service manager, after an upgrade in place, we bind what is missing ourselves.
	managed := slices.ContainsFunc(sockets, func(s systemd.Socket) bool { return !s.Ours })
	found, missing, surplus := match(cfg, given)
	for _, c := range cfg {
		for _, p := range found[c.Name] {
			lns = append(lns, &Listener{Name: c.Name, File: p.file, Addr: p.addr, Inherited: !p.ours, made: p.made})
		}
		bindable := c.Addresses(ipv6 && !managed) // systemd opens all that the machine has
		for _, address := range missing[c.Name] {
			if slices.Contains(bindable, address) {
				lns = append(lns, unbound(c, address, managed))
			}
		}
	}
	for _, p := range surplus {
		left = append(left, Misfit{errSurplus(cfg, p)})
		// Systemd holds it too: clients in its backlog wait for another daemon.
		_ = p.file.Close()
	}
	return lns, left
}

// passed is a socket that systemd passed in, after examine.
type passed struct {
	name string
	file *os.File // a duplicate
	addr sockaddr.Local
	ours bool               // no other process holds it
	made *unixsocket.Socket // as of a Listener
}

// String names the socket for an error: its name, and where it listens. It is safe to print.
func (p *passed) String() string { return fmt.Sprintf("socket %q (%s)", p.name, p.addr) }

// examine duplicates a socket, after making sure that it accepts connections.
func examine(s systemd.Socket) (*passed, error) {
	raw, err := s.File.SyscallConn()
	if err != nil {
		return nil, err
	}
	name, made := strings.CutSuffix(s.Name, madeSuffix)
	p := &passed{name: name, ours: s.Ours}
	cerr := raw.Control(func(fd uintptr) {
		if p.addr, err = addressOf(int(fd)); err != nil {
			return
		}
		var dup int
		if dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return
		}
		if err = unix.SetNonblock(dup, true); err != nil {
			_ = unix.Close(dup) // the socket itself stays open
			return
		}
		p.file = os.NewFile(uintptr(dup), name)
	})
	if err = errors.Join(cerr, err); err == nil && made && s.Ours {
		p.made, _ = unixsocket.Adopt(p.file, p.addr.Path) // else the file is not that of the socket
	}
	return p, err
}

// wantListener is what a socket that is passed in has to be.
const wantListener = "want a listener of TCP or of a unix socket (ListenStream= with a port or a path)"

// addressOf returns the address that fd listens on, or why it does not listen.
func addressOf(fd int) (sockaddr.Local, error) {
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return sockaddr.Local{},
			fmt.Errorf(wantListener+": %w", err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return sockaddr.Local{}, err
	}
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	addr := sockaddr.LocalOf(name)
	switch {
	case err != nil:
		return addr, err
	case !addr.IsValid() || kind != unix.SOCK_STREAM:
		return addr, errors.New(wantListener + ", it is of another kind")
	case accepts == 0:
		return addr, errors.New("want a listener, it is a connection: " +
			"set Accept=no in the socket unit")
	}
	return addr, nil
}

// match returns the sockets of each listener, by the listener's name; the addresses of each that
// have no socket; and the sockets that no listener takes.
func match(cfg []config.Listener, sockets []*passed) (
	found map[string][]*passed, missing map[string][]string, left []*passed,
) {
	found, missing = make(map[string][]*passed), make(map[string][]string)
	for _, p := range sockets {
		if slices.ContainsFunc(cfg, func(c config.Listener) bool { return c.Name == p.name }) {
			found[p.name] = append(found[p.name], p)
		} else {
			left = append(left, p)
		}
	}
	// A listener that has sockets by its name gets no others. The rest goes by address.
	var names []string // the listener's, for each address without a socket
	for _, c := range cfg {
		if len(found[c.Name]) > 0 {
			continue
		}
		for _, address := range c.Address {
			same := func(p *passed) bool { return sameAddress(address, p.addr) }
			i := slices.IndexFunc(left, same)
			if i < 0 {
				missing[c.Name], names = append(missing[c.Name], address), append(names, c.Name)
				continue
			}
			found[c.Name] = append(found[c.Name], left[i])
			left = slices.Delete(left, i, i+1)
		}
	}
	if len(names) != len(left) {
		return found, missing, left
	}
	for i, name := range names {
		found[name] = append(found[name], left[i])
	}
	return found, nil, nil
}

// errSurplus names a socket that no listener takes, and the next step.
func errSurplus(cfg []config.Listener, p *passed) error {
	var names []string
	for _, c := range cfg {
		names = append(names, c.Name)
	}
	return fmt.Errorf("%v passed in by systemd matches no listener; the configuration has %s: "+
		"after editing it, "+RemakeSockets+"; in units of your own, set FileDescriptorName=",
		p, strings.Join(names, ", "))
}
