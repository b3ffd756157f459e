package config

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// HasIPv6 reports whether this process can create IPv6 sockets. It cannot on a machine that was
// booted with ipv6.disable=1, nor in a sandbox without that address family.
func HasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd) // it was never used
	}
	return !errors.Is(err, unix.EAFNOSUPPORT)
}

// Addresses returns the addresses that a machine with or without IPv6 can bind. ":12345" means all
// addresses, so without IPv6 "[::]:12345" is left out if "0.0.0.0:12345" is there too.
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
