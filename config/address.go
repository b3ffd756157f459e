package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

const wantAddress = `host:port, such as "127.0.0.1:12345", "[::1]:12345" or ":12345" for all addresses`

// mainAddress also takes [], for no main listener.
func mainAddress(c *Config) setter {
	return func(v any, at place) {
		if list, ok := v.([]any); ok && len(list) == 0 {
			c.Listeners[0].Address = nil
			return
		}
		addresses(&c.Listeners[0])(v, at)
	}
}

// addresses takes one address or an array of at least one.
func addresses(l *Listener) setter {
	return func(v any, at place) {
		list, ok := v.([]any)
		if !ok {
			l.Address = at.doc.bind(at, *l, v)
			return
		}
		l.Address = nil
		for i, item := range list {
			l.Address = append(l.Address, at.doc.bind(at.item(i), *l, item)...)
		}
		if len(list) == 0 {
			at.want(v, wantAddress)
		}
	}
}

// bound is one address that one socket will be bound to.
type bound struct {
	at       place
	text     string // as its author wrote it
	listener string
	addr     netip.AddrPort
}

// bind notes where v wants to listen, for conflicts, and returns it in Go's spelling: "" becomes both wildcards, because our
// IPv6 sockets take no IPv4; localhost becomes 127.0.0.1, because nothing is looked up at start.
func (d *document) bind(at place, l Listener, v any) []string {
	s, _ := v.(string)
	addrs, want := parseAddress(s)
	if want != "" {
		at.want(v, want)
		return nil
	}
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
		d.bound = append(d.bound, bound{at, s, l.Name, a})
	}
	return list
}

// parseAddress returns what host:port means, or what is wanted instead. Port 0 is left to the kernel, which then picks one:
// for tests, and for who reads the port from the log.
func parseAddress(s string) (addrs []netip.AddrPort, want string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if strings.Count(s, ":") > 1 {
			return nil, `host:port with the IPv6 address in brackets, such as "[::1]:12345"`
		}
		return nil, wantAddress
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, "a port from 0 to 65535 behind the last colon"
	}
	hosts, want := parseHost(host)
	for _, h := range hosts {
		addrs = append(addrs, netip.AddrPortFrom(h, uint16(n)))
	}
	return addrs, want
}

var (
	loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	// A zone is the name or number of a network interface, see netdevice(7).
	zoneForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9._-]{1,15}$`) })
)

func parseHost(host string) (hosts []netip.Addr, want string) {
	switch host {
	case "":
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, ""
	case "localhost":
		return []netip.Addr{loopback}, ""
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return nil, `an IP address, "localhost" or nothing before the port: names are not looked up`
	}
	a = a.Unmap() // ::ffff:1.2.3.4 is 1.2.3.4 and cannot be bound by an IPv6-only socket
	linkLocal := a.Is6() && a.IsLinkLocalUnicast()
	switch {
	case a.IsMulticast():
		return nil, "an address of this machine, not a group"
	case linkLocal && !zoneForm().MatchString(a.Zone()):
		return nil, `its interface behind a link-local address, such as "[fe80::1%eth0]:12345"`
	case !linkLocal && a.Zone() != "":
		return nil, "no interface: only link-local addresses have one"
	}
	return []netip.Addr{a}, ""
}

// checkAddresses finds addresses that cannot be bound at once: the same one, or one beside its family's wildcard.
func (d *document) checkAddresses() {
	owners := map[netip.AddrPort]bound{} // by address, and by wildcard for the first of its family and port
	for _, b := range d.bound {
		if b.addr.Port() == 0 {
			continue
		}
		wild := netip.AddrPortFrom(wildcard(b.addr.Addr()), b.addr.Port())
		other, taken := owners[b.addr]
		if !taken {
			other, taken = owners[wild]
			taken = taken && other.addr == wild
		}
		if taken {
			b.taken(other)
			continue
		}
		owners[b.addr] = b
		if _, ok := owners[wild]; !ok {
			owners[wild] = b
		}
	}
}

func wildcard(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// taken is the fault of an address that another one stands in the way of.
func (b bound) taken(other bound) {
	what, how := "want one that is free", ""
	if b.addr == other.addr {
		what = "which is there twice"
	}
	if other.at.path == "" {
		how = " by default (address = [] at the top leaves it out)"
	}
	b.at.fault("is %s, %s: %s has %s%s", quote(b.text), what, other.owner(), quote(other.text), how)
}

// owner is whose address it is, as the author of the file knows it.
func (b bound) owner() string {
	if b.listener == MainListener {
		return "the top-level address"
	}
	return "listener " + quote(b.listener)
}
