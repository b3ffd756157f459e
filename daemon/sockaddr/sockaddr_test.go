package sockaddr

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// loopback is the number of the interface lo, which every network namespace has.
const loopback = 1

func TestFrom(t *testing.T) {
	linkLocal := [16]byte{0: 0xfe, 1: 0x80, 15: 1}
	mapped := [16]byte{10: 0xff, 11: 0xff, 12: 192, 14: 2, 15: 7}
	for _, c := range []struct {
		name string
		sa   syscall.Sockaddr
		want string // "" is the zero value
	}{
		{"IPv4", &syscall.SockaddrInet4{Port: 4711, Addr: [4]byte{192, 0, 2, 7}}, "192.0.2.7:4711"},
		{"IPv6", &syscall.SockaddrInet6{Port: 1, Addr: [16]byte{15: 1}}, "[::1]:1"},
		{"IPv4 through an IPv6 socket", &syscall.SockaddrInet6{Port: 65535, Addr: mapped}, "192.0.2.7:65535"},
		{"IPv4 through an IPv6 socket, with a zone", &syscall.SockaddrInet6{Addr: mapped, ZoneId: loopback}, "192.0.2.7:0"},
		{"link-local", &syscall.SockaddrInet6{Addr: linkLocal, ZoneId: loopback}, "[fe80::1%lo]:0"},
		{"an interface that has gone", &syscall.SockaddrInet6{Addr: linkLocal, ZoneId: 999999}, "[fe80::1%999999]:0"},
		{"another family", &syscall.SockaddrUnix{Name: "/run/x"}, ""},
		{"none", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want netip.AddrPort
			if c.want != "" {
				want = netip.MustParseAddrPort(c.want)
			}
			if got := From(c.sa); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestTo(t *testing.T) {
	for _, c := range []struct {
		name, addr, zone string
		want             unix.Sockaddr
	}{
		{"IPv4", "192.0.2.7:4711", "", &unix.SockaddrInet4{Port: 4711, Addr: [4]byte{192, 0, 2, 7}}},
		{"IPv4 within IPv6", "[::ffff:192.0.2.7]:4711", "", &unix.SockaddrInet4{Port: 4711, Addr: [4]byte{192, 0, 2, 7}}},
		{"IPv4 has no zone", "192.0.2.7:1", "lo", &unix.SockaddrInet4{Port: 1, Addr: [4]byte{192, 0, 2, 7}}},
		{"IPv6", "[::1]:1", "", &unix.SockaddrInet6{Port: 1, Addr: [16]byte{15: 1}}},
		{"all addresses", "[::]:65535", "", &unix.SockaddrInet6{Port: 65535}},
		{"with a zone", "[fe80::1]:1", "lo", &unix.SockaddrInet6{Port: 1, ZoneId: loopback, Addr: [16]byte{0: 0xfe, 1: 0x80, 15: 1}}},
		{"with a zone that is no interface", "[fe80::1]:1", "nosuch", &unix.SockaddrInet6{Port: 1, Addr: [16]byte{0: 0xfe, 1: 0x80, 15: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := To(netip.MustParseAddrPort(c.addr), c.zone); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestFromUndoesTo for every address, with IPv4 within IPv6 as IPv4.
func TestFromUndoesTo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var ip [16]byte
		for i := range ip {
			ip[i] = byte(rnd.IntN(256))
		}
		addr := netip.AddrFrom16(ip)
		switch rnd.IntN(3) {
		case 0:
			addr = netip.AddrFrom4([4]byte(ip[:4]))
		case 1:
			addr = netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: ip[0], 13: ip[1], 14: ip[2], 15: ip[3]})
		}
		port := uint16(rnd.IntN(1 << 16))
		want := netip.AddrPortFrom(addr.Unmap(), port)
		var sa syscall.Sockaddr
		switch to := To(netip.AddrPortFrom(addr, port), "").(type) {
		case *unix.SockaddrInet4:
			sa = &syscall.SockaddrInet4{Port: to.Port, Addr: to.Addr}
		case *unix.SockaddrInet6:
			sa = &syscall.SockaddrInet6{Port: to.Port, Addr: to.Addr, ZoneId: to.ZoneId}
		}
		if got := From(sa); got != want {
			t.Errorf("%v: got %v, want %v", addr, got, want)
		}
	}
}
