package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/systemd"
)

// listener is one bound socket and the settings of those whom it lets in.
type listener struct {
	name      string
	door      *door // shared with the listener's other sockets
	settings  atomic.Pointer[listenerSettings]
	file      *os.File // non-blocking, so that waiting costs no thread; nil: there is no socket yet
	address   string   // as configured, of one that we bind, or that systemd should have passed in
	addr      netip.AddrPort
	inherited bool      // systemd holds it too: connections that we do not accept wait for the next process
	unserved  *unserved // nil: it is served
}

// listenerSettings are what a reload may change about a listener. They are replaced whole, never changed.
type listenerSettings struct {
	config.Listener
	banner  template
	ack     template
	framing framing.Spec
	launch  *launch // nil: no program is run
	hours   admission.Hours
	proxies *admission.Rules // who may speak for others
	origin  uint32           // by which origins know them; 0: they do not
}

func newListener(c config.Listener, file *os.File, inherited bool) *listener {
	ln := &listener{name: c.Name, door: newDoor(), file: file, inherited: inherited}
	ln.configure(c, 0)
	return ln
}

// configure makes c what holds for the listener from now on; its backlog is applied by setBacklog, its limits by the server.
func (ln *listener) configure(c config.Listener, origin uint32) {
	ln.settings.Store(newSettings(c, origin))
}

func newSettings(c config.Listener, origin uint32) *listenerSettings {
	return &listenerSettings{
		Listener: c,
		banner:   newBanner(c.Banner),
		ack:      newAck(c.Ack),
		framing:  framingOf(c),
		launch:   newLaunch(c),
		hours:    hoursOf(c.Limits.AccessTimes),
		proxies:  admission.NewRules(c.ProxyProtocol, nil),
		origin:   origin,
	}
}

// framingOf is how the listener's clients are cut into messages.
func framingOf(c config.Listener) framing.Spec {
	kind, _ := framing.ParseKind(c.Framing) // the configuration has no other; a session's process is told its own
	return framing.Spec{Kind: kind, Max: int(c.MaxMessage), LengthSize: c.LengthSize, LittleEndian: c.LengthOrder == "little"}
}

// String names the listener in an error. It is safe to print.
func (ln *listener) String() string { return fmt.Sprintf("listener %q (%s)", ln.name, ln.addr) }

// listenersOf returns a listener for each address: with the sockets that systemd passed in, or, if it passed none, to be bound. Those
// for which there is no socket are listeners without one. The errors are of the sockets that are left over. Without ipv6 we can bind no
// address of that.
func listenersOf(cfg []config.Listener, sockets []systemd.Socket, ipv6 bool) (lns []*listener, left []error) {
	if len(sockets) > 0 {
		lns, left = inherit(cfg, sockets, ipv6)
	} else {
		for _, c := range cfg {
			for _, address := range c.Addresses(ipv6) {
				lns = append(lns, unbound(c, address, false))
			}
		}
	}
	shareDoors(lns)
	return lns, left
}

// unbound is a listener that has no socket yet.
func unbound(c config.Listener, address string, inherited bool) *listener {
	ln := newListener(c, nil, inherited)
	ln.address = address
	ln.addr, _ = netip.ParseAddrPort(address) // Load lets nothing else through
	return ln
}

// shareDoors gives the sockets of one listener one door.
func shareDoors(lns []*listener) {
	doors := make(map[string]*door)
	for _, ln := range lns {
		if doors[ln.name] == nil {
			doors[ln.name] = ln.door
		}
		ln.door = doors[ln.name]
	}
}

// remakeSockets has systemd open its sockets where the configuration has them.
const remakeSockets = "systemctl daemon-reload && systemctl restart tcpmux.socket"

// warnOfDisagreement says in one line when a listener is not served where the configuration has it, but where systemd's
// sockets are.
func warnOfDisagreement(c config.Listener, lns []*listener, log *slog.Logger) {
	least := c.Addresses(false) // our sandbox has no IPv6, whatever the machine has
	var served []string
	agree := true
	for _, ln := range lns {
		if ln.name == c.Name && ln.file == nil {
			return // that is told already
		}
		if ln.name == c.Name {
			served = append(served, ln.addr.String())
			agree = agree && slices.ContainsFunc(c.Address, func(a string) bool { return sameAddress(a, ln.addr) })
			least = slices.DeleteFunc(least, func(a string) bool { return sameAddress(a, ln.addr) })
		}
	}
	if !agree || len(least) > 0 {
		log.Warn("systemd passed in sockets that differ from the configuration; the sockets are served until "+remakeSockets,
			"listener", c.Name, "served", strings.Join(served, " "), "configured", strings.Join(c.Address, " "))
	}
}

// closeUnserved closes the sockets that no accept loop closes.
func closeUnserved(lns []*listener) {
	for _, ln := range lns {
		if ln.unserved != nil && ln.file != nil {
			_ = ln.file.Close() // nothing was written
		}
	}
}

// bind gives the listener a socket that is bound to its address; it does not listen yet.
func (ln *listener) bind() error {
	if ln.inherited {
		return misfit{notPassed(ln.address)}
	}
	file, err := bind(ln.name, ln.address)
	if errors.Is(err, unix.EAFNOSUPPORT) { // it will not be otherwise after a restart
		return misfit{fmt.Errorf("%w%s", err, hint(err))}
	}
	if err != nil {
		return fmt.Errorf("%w%s", err, hint(err))
	}
	ln.file = file
	return nil
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
		return " (systemd passed in no socket and its unit lets the daemon open none: systemctl restart tcpmux.socket)"
	}
	return ""
}

// bind makes a socket that is bound to address; it does not listen yet.
func bind(name, address string) (*os.File, error) {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	addr := tcp.AddrPort()
	family, sa := unix.AF_INET6, sockaddr(addr, tcp.Zone)
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
		// "0.0.0.0:80" and "[::]:80" are two listeners, as they are to systemd with BindIPv6Only=ipv6-only.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sa))
	}
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	return file, nil
}

// sockaddr is addr for bind(2).
func sockaddr(addr netip.AddrPort, zone string) unix.Sockaddr {
	if ip := addr.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if link, err := net.InterfaceByName(zone); err == nil {
		sa.ZoneId = uint32(link.Index)
	}
	return sa
}

// control calls f with the listener's descriptor.
func (ln *listener) control(f func(fd int) error) error {
	raw, err := ln.file.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// option is one of a socket.
type option struct{ level, name, value int }

// vigilance are the options by which a peer that has vanished is found after a time without a sign of it: by probes in the last
// half of it when there is nothing to send, and by what it does not acknowledge (tcp(7)).
func vigilance(lost time.Duration) []option {
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

// prepare sets what the listener's connections inherit, so that accepting one costs no further system calls. It may be called
// again, for those to come.
func (ln *listener) prepare() error {
	return ln.control(func(fd int) error {
		for _, o := range append(vigilance(ln.settings.Load().LostTimeout), option{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}) {
			err := unix.SetsockoptInt(fd, o.level, o.name, o.value)
			if err != nil && err != unix.EOPNOTSUPP && err != unix.ENOPROTOOPT { // MPTCP (SocketProtocol=mptcp) lacks some
				return os.NewSyscallError("setsockopt", err)
			}
		}
		// Urgent bytes stay in the stream (RFC 6093, section 4). MPTCP has neither them nor the option.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1); err != nil && err != unix.EOPNOTSUPP {
			return os.NewSyscallError("setsockopt", err)
		}
		name, err := syscall.Getsockname(fd)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		if addr := addrPort(name); addr != ln.addr { // sessions read it
			ln.addr = addr
		}
		return nil
	})
}

// setBacklog makes the socket listen with the configured backlog. It may be called again: listen(2) then changes it.
func (ln *listener) setBacklog() error {
	return ln.control(func(fd int) error {
		if err := unix.Listen(fd, ln.settings.Load().Backlog); err != nil {
			return fmt.Errorf("%w%s", os.NewSyscallError("listen", err), hint(err))
		}
		return nil
	})
}

// addrPort is sa as a value, IPv4-mapped addresses as IPv4; the zero value where sa is of another family.
func addrPort(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(zone(int(sa.ZoneId)))
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// zone is the name of a network interface, or its number where it has gone.
func zone(index int) string {
	if link, err := net.InterfaceByIndex(index); err == nil {
		return link.Name
	}
	return fmt.Sprint(index)
}

// sameAddress says whether a configured address means addr. Port 0 is any.
func sameAddress(configured string, addr netip.AddrPort) bool {
	tcp, err := net.ResolveTCPAddr("tcp", configured)
	if err != nil {
		return false
	}
	want, got := tcp.AddrPort(), addr.Addr()
	if _, err := strconv.Atoi(got.Zone()); err == nil { // an interface that has no name in our network namespace
		want, got = netip.AddrPortFrom(want.Addr().WithZone(""), want.Port()), got.WithZone("")
	}
	return want.Addr().Unmap() == got && (want.Port() == addr.Port() || want.Port() == 0)
}
