package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

const wantAddress = `host:port, such as "127.0.0.1:12345", "[::1]:12345", or ":12345" for all addresses`

// addresses takes one address or an array of at least one. With a meaning for [] it takes that too.
func addresses(none string) kind[[]string] {
	allowed := "an address host:port, or an array of them"
	if none != "" {
		allowed = "an address host:port, an array of them, or [] " + none
	}
	read := func(v any, at place) (list []string, ok bool) {
		items, ok := v.([]any)
		if !ok {
			return at.doc.bind(at, v), true
		}
		if len(items) == 0 && none == "" {
			return nil, at.want(v, wantAddress)
		}
		for i, item := range items {
			list = append(list, at.doc.bind(at.item(i), item)...)
		}
		return list, true
	}
	return kind[[]string]{allowed, read, addressTOML}
}

// bound is one address that one socket will be bound to.
type bound struct {
	at   place
	text string // as it is written in the file
	addr netip.AddrPort
}

// bind notes the address v for the search for conflicts, and returns it in Go's spelling. ":1"
// becomes both wildcards, because an IPv6 socket of the daemon takes no IPv4; localhost becomes
// 127.0.0.1, because no name is looked up.
func (d *document) bind(at place, v any) []string {
	s, _ := v.(string)
	addrs, want := parseAddress(s)
	if want != "" {
		at.want(v, want)
		return nil
	}
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
		d.bound = append(d.bound, bound{at, s, a})
	}
	return list
}

// parseAddress returns the addresses that host:port stands for, or what is wanted instead. With
// port 0 the kernel picks a port, which the log shows.
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
		return nil, "a port from 0 to 65535 after the last colon"
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
		return nil, "an address of this machine, not a multicast group"
	case linkLocal && !zoneForm().MatchString(a.Zone()):
		return nil, `the interface of a link-local address too, such as "[fe80::1%eth0]:12345"`
	case !linkLocal && a.Zone() != "":
		return nil, "an address without an interface: only link-local addresses have one"
	}
	return []netip.Addr{a}, ""
}

// checkAddresses reports addresses that cannot be bound together: one that is listed twice, or one
// and the wildcard of its family.
func (d *document) checkAddresses() {
	// By address; the first of each family and port is also there by its wildcard.
	owners := map[netip.AddrPort]bound{}
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
			b.conflict(other)
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

// conflict reports that b cannot be bound because of another address.
func (b bound) conflict(other bound) {
	what, how := "want one that is free", ""
	if b.addr == other.addr {
		what = "which is listed twice"
	}
	if other.at.path == "" {
		how = " by default (address = [] at the top removes it)"
	}
	b.at.fault("is %s, %s: %s has %s%s", quote(b.text), what, other.owner(), quote(other.text), how)
}

// owner names the key that has the address.
func (b bound) owner() string {
	if listener, ok := strings.CutSuffix(b.at.name, ": address"); ok {
		return listener
	}
	return "the top-level address"
}
