package generator

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"tcpmux/config"
)

// NetworkDropIn is where the service is given a network, below the directory of generated units.
const NetworkDropIn = service + ".d/" + dropIn

// Network returns the settings of the service that let proxies connect with their upstreams, as
// they stand in NetworkDropIn; "" if none has one in the network. Nothing else is lifted: the
// addresses are those of the configuration, unless a name is among them, which may lead anywhere.
func Network(cfg config.Config) string {
	var allowed []string
	families, names := map[string]bool{}, false
	for _, to := range upstreams(cfg) {
		if strings.HasPrefix(to, config.UnixScheme) {
			continue
		}
		host, _, _ := net.SplitHostPort(to) // it was valid
		addr, err := netip.ParseAddr(host)
		switch {
		case host == "localhost":
			families["AF_INET"], families["AF_INET6"] = true, true
			allowed = append(allowed, "localhost")
		case err != nil:
			names = true
			families["AF_INET"], families["AF_INET6"] = true, true
		default:
			families[familyOf(addr)] = true
			allowed = append(allowed, addr.WithZone("").String())
		}
	}
	if len(families) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("# For listeners with proxy, which connect by themselves.\nPrivateNetwork=no\n")
	fmt.Fprintf(&b, "RestrictAddressFamilies=%s\n", strings.Join(slices.Sorted(maps.Keys(families)), " "))
	if names {
		b.WriteString("# A name may have any address, and is looked up in the network.\nIPAddressDeny=\n")
		return b.String()
	}
	slices.Sort(allowed)
	fmt.Fprintf(&b, "# Nobody else is reached (IPAddressDeny=any).\nIPAddressAllow=%s\n", strings.Join(slices.Compact(allowed), " "))
	return b.String()
}

func familyOf(addr netip.Addr) string {
	if addr.Unmap().Is4() {
		return "AF_INET"
	}
	return "AF_INET6"
}

// upstreams returns those of all listeners.
func upstreams(cfg config.Config) (list []string) {
	for _, l := range cfg.Listeners {
		if l.Proxies() {
			list = append(list, l.Proxy.To...)
		}
	}
	return list
}
