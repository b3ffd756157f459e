package listen

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tcpmux/config"
	"tcpmux/daemon/sockaddr"
)

// RemakeSockets is the command by which systemd opens its sockets where the configuration has them.
const RemakeSockets = "systemctl daemon-reload && systemctl restart tcpmux.socket"

// WarnDisagreement logs one line if the sockets of listener c that systemd passed in are not where
// the configuration has them. It logs nothing if one of them has no socket: that is another error.
func WarnDisagreement(c config.Listener, lns []*Listener, log *slog.Logger) {
	least := c.Addresses(false) // the sandbox has no IPv6, whatever the machine has
	var served []string
	agree := true
	for _, ln := range lns {
		if ln.Name != c.Name {
			continue
		}
		if ln.File == nil {
			return
		}
		same := func(address string) bool { return sameAddress(address, ln.Addr) }
		served = append(served, ln.Addr.String())
		agree = agree && slices.ContainsFunc(c.Address, same)
		least = slices.DeleteFunc(least, same)
	}
	if !agree || len(least) > 0 {
		log.Warn("systemd passed in sockets that differ from the configuration; "+
			"the sockets are served until "+RemakeSockets, "listener", c.Name,
			"served", strings.Join(served, " "), "configured", strings.Join(c.Address, " "))
	}
}

// sameAddress reports whether a configured address means addr. Port 0 means any port.
func sameAddress(configured string, addr sockaddr.Local) bool {
	if path := config.UnixPath(configured); path != "" {
		return path == addr.Path
	}
	tcp, err := net.ResolveTCPAddr("tcp", configured)
	if err != nil {
		return false
	}
	want, got := tcp.AddrPort(), addr.Addr()
	if _, err := strconv.Atoi(got.Zone()); err == nil {
		// The interface has no name in our network namespace.
		want, got = netip.AddrPortFrom(want.Addr().WithZone(""), want.Port()), got.WithZone("")
	}
	return want.Addr().Unmap() == got && (want.Port() == addr.Port() || want.Port() == 0)
}
