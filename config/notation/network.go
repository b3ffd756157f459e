package notation

import (
	"fmt"
	"net/netip"
)

// ParseNetwork reads a network, or an address as the network of it alone, and returns it masked. An
// IPv4-mapped address becomes IPv4. Where s is neither, want is what is wanted instead.
func ParseNetwork(s string) (p netip.Prefix, want string) {
	const form = `a network or an address, such as "192.0.2.0/24", "2001:db8::/32" or "192.0.2.7"`
	p, err := netip.ParsePrefix(s)
	if addr, aerr := netip.ParseAddr(s); aerr == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return p, form
	}
	if addr := p.Addr(); addr.Is4In6() {
		if p.Bits() < 96 {
			return p, "an IPv4 network in its own notation: " + form
		}
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Sprintf("no bits after those of the network: %q", p.Masked())
	}
	return p, ""
}

// FormatNetwork returns the network as it is written in a file: "192.0.2.0/24", or "192.0.2.7" for
// a single address.
func FormatNetwork(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
