package config

import (
	"slices"
	"testing"
)

func TestAddressesWithoutIPv6(t *testing.T) {
	for _, c := range []struct {
		name          string
		address, want []string // want: without IPv6
	}{
		{"all addresses", []string{"0.0.0.0:1", "[::]:1"}, []string{"0.0.0.0:1"}},
		{"the other order", []string{"[::]:1", "0.0.0.0:1"}, []string{"0.0.0.0:1"}},
		{"several ports", []string{"0.0.0.0:1", "[::]:1", "0.0.0.0:2", "[::]:2", "[::1]:3"}, []string{"0.0.0.0:1", "0.0.0.0:2", "[::1]:3"}},
		{"IPv6 asked for by itself", []string{"[::]:1"}, []string{"[::]:1"}},
		{"IPv4 on another port", []string{"0.0.0.0:1", "[::]:2"}, []string{"0.0.0.0:1", "[::]:2"}},
		{"IPv4 on one address", []string{"127.0.0.1:1", "[::]:1"}, []string{"127.0.0.1:1", "[::]:1"}},
		{"an address of IPv6", []string{"0.0.0.0:1", "[::1]:1"}, []string{"0.0.0.0:1", "[::1]:1"}},
		{"any port", []string{"0.0.0.0:0", "[::]:0"}, []string{"0.0.0.0:0"}},
		{"none", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := Listener{Address: c.address}
			if got := l.Addresses(true); !slices.Equal(got, c.address) {
				t.Errorf("with IPv6: got %q, want %q", got, c.address)
			}
			if got := l.Addresses(false); !slices.Equal(got, c.want) {
				t.Errorf("without IPv6: got %q, want %q", got, c.want)
			}
		})
	}
}
