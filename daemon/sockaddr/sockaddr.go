// Package sockaddr says who has connected, and where to: an address, or a process and the path of a
// unix socket. It converts the kernel's socket addresses to and from netip values. IPv4-mapped
// IPv6 addresses become IPv4, so that a client has one address whatever socket it came through.
package sockaddr

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// From returns sa as a value; the zero value if sa is of another family than IPv4 and IPv6.
func From(sa syscall.Sockaddr) netip.AddrPort {
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

// zone returns the name of a network interface, or its number if there is no such interface.
func zone(index int) string {
	if link, err := net.InterfaceByIndex(index); err == nil {
		return link.Name
	}
	return fmt.Sprint(index)
}

// To returns addr for bind(2) and connect(2). zone names the interface of a link-local address; ""
// is none.
func To(addr netip.AddrPort, zone string) unix.Sockaddr {
	if ip := addr.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if link, err := net.InterfaceByName(zone); err == nil {
		sa.ZoneId = uint32(link.Index)
	}
	return sa
}
