package proxy

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Append1 appends a header of version 1 for a connection from client to server, both of TCP. If
// either is the zero value the header says that they are not known (section 2.1).
func Append1(dst []byte, client, server netip.AddrPort) []byte {
	from, to, ok := sameFamily(client, server)
	if !ok {
		return append(dst, signature1+"UNKNOWN\r\n"...)
	}
	family := "TCP4 "
	if from.Is6() {
		family = "TCP6 "
	}
	dst = append(append(dst, signature1...), family...)
	dst = append(from.AppendTo(dst), ' ')
	dst = append(to.AppendTo(dst), ' ')
	dst = append(strconv.AppendUint(dst, uint64(client.Port()), 10), ' ')
	return append(strconv.AppendUint(dst, uint64(server.Port()), 10), "\r\n"...)
}

// Append2 is Append1 for version 2 (section 2.2).
func Append2(dst []byte, client, server netip.AddrPort) []byte {
	dst = append(dst, signature2...)
	from, to, ok := sameFamily(client, server)
	if !ok {
		return append(dst, proxied2, unspecified, 0, 0)
	}
	family, size := byte(tcp4), 12
	if from.Is6() {
		family, size = tcp6, 36
	}
	dst = append(dst, proxied2, family, 0, byte(size))
	dst = append(append(dst, from.AsSlice()...), to.AsSlice()...)
	dst = binary.BigEndian.AppendUint16(dst, client.Port())
	return binary.BigEndian.AppendUint16(dst, server.Port())
}

// sameFamily returns two addresses without zones, both of IPv4 or both of IPv6: a header has one
// family for both. A client of IPv6 may speak to a server of IPv4 where another proxy has named it.
// ok is false if one of them is not known.
func sameFamily(client, server netip.AddrPort) (from, to netip.Addr, ok bool) {
	from, to = client.Addr().Unmap().WithZone(""), server.Addr().Unmap().WithZone("")
	switch {
	case !from.IsValid() || !to.IsValid():
		return from, to, false
	case from.Is4() == to.Is4():
	case from.Is4():
		from = netip.AddrFrom16(from.As16())
	default:
		to = netip.AddrFrom16(to.As16())
	}
	return from, to, true
}
