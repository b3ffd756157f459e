package config

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// HasIPv6 reports whether this process can have sockets of IPv6: on a machine that was booted with ipv6.disable=1 none can, and
// neither in a sandbox that leaves it out.
func HasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd) // it was never used
	}
	return !errors.Is(err, unix.EAFNOSUPPORT)
}

// Addresses are those of the listener that a machine with or without IPv6 has: ":12345" is all addresses that there are, so "[::]:12345"
// is left out where there is no IPv6 and "0.0.0.0:12345" is among the addresses.
func (l Listener) Addresses(ipv6 bool) (list []string) {
	for _, address := range l.Address {
		a, err := netip.ParseAddrPort(address)
		if err == nil && !ipv6 && a.Addr() == netip.IPv6Unspecified() &&
			slices.Contains(l.Address, netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port()).String()) {
			continue
		}
		list = append(list, address)
	}
	return list
}
