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

// inherit gives every socket to a listener: by name, else by address, else in order when the counts agree. A socket or a
// listener that is left over is an error that names it: serving half of what was asked for would go unnoticed.
func inherit(cfg []config.Listener, sockets []systemd.Socket) (lns []*listener, err error) {
	var given []*passed
	defer func() {
		if err != nil { // those that no listener has taken over
			for _, p := range given {
				_ = p.file.Close() // nothing was accepted from it
			}
			lns = nil
		}
	}()
	for _, s := range sockets {
		p, err := examine(s)
		if err != nil {
			return nil, fmt.Errorf("%w: socket %q passed in by systemd: %w", config.ErrInvalid, s.Name, err) // a restart gets it again
		}
		given = append(given, p)
	}
	sockOf, err := match(cfg, given)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	for _, c := range cfg {
		for _, p := range sockOf[c.Name] {
			lns = append(lns, newListener(c, p.file, !p.ours))
		}
	}
	return lns, nil
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

// match says which sockets each listener, by its name, serves.
func match(cfg []config.Listener, sockets []*passed) (map[string][]*passed, error) {
	sockOf := make(map[string][]*passed)
	var left []*passed
	for _, p := range sockets {
		if slices.ContainsFunc(cfg, func(c config.Listener) bool { return c.Name == p.name }) {
			sockOf[p.name] = append(sockOf[p.name], p)
		} else {
			left = append(left, p)
		}
	}
	// What a name has settled is settled; the rest goes by address.
	var wants []unmatched
	for _, c := range cfg {
		if len(sockOf[c.Name]) > 0 {
			continue
		}
		for _, address := range c.Address {
			i := slices.IndexFunc(left, func(p *passed) bool { return sameAddress(address, p.addr) })
			if i < 0 {
				wants = append(wants, unmatched{c.Name, address})
				continue
			}
			sockOf[c.Name] = append(sockOf[c.Name], left[i])
			left = slices.Delete(left, i, i+1)
		}
	}
	if len(wants) == len(left) {
		for i, w := range wants {
			sockOf[w.listener] = append(sockOf[w.listener], left[i])
		}
		return sockOf, nil
	}
	return nil, mismatch(cfg, left, wants)
}

// unmatched is an address of a listener for which there is no socket.
type unmatched struct{ listener, address string }

// mismatch names what is left over, with the next step.
func mismatch(cfg []config.Listener, left []*passed, wants []unmatched) error {
	const mend = remakeSockets + "; in units of your own,"
	var names []string
	for _, c := range cfg {
		names = append(names, c.Name)
	}
	var errs []error
	for _, p := range left {
		errs = append(errs, fmt.Errorf("%v passed in by systemd matches no listener; the configuration has %s: after editing it, %s set FileDescriptorName=",
			p, strings.Join(names, ", "), mend))
	}
	for _, w := range wants {
		errs = append(errs, fmt.Errorf("listener %q (%s): none of the sockets passed in by systemd matches: after editing the configuration, %s FileDescriptorName=%s",
			w.listener, w.address, mend, w.listener))
	}
	return errors.Join(errs...)
}
