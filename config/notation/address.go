package notation

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// AddressForm describes what ParseAddress reads, for a message.
const AddressForm = `host:port, such as "127.0.0.1:12345", "[::1]:12345", or ":12345" for all addresses`

// ParseAddress returns the addresses that host:port stands for. Where s is nothing that can be
// bound, want is what is wanted instead. ":1" becomes both wildcards, because an IPv6 socket of the
// daemon takes no IPv4; localhost becomes 127.0.0.1, because no name is looked up. With port 0 the
// kernel picks a port, which the log shows.
func ParseAddress(s string) (addrs []netip.AddrPort, want string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if strings.Count(s, ":") > 1 {
			return nil, `host:port with the IPv6 address in brackets, such as "[::1]:12345"`
		}
		return nil, AddressForm
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

// Wildcard returns the address that stands for all addresses of the family.
func Wildcard(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
