package cli

import (
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
		err  string
	}{
		{"nothing", nil, "127.0.0.1:12345", ""},
		{"host and port", []string{"example.org:7000"}, "example.org:7000", ""},
		{"only a port", []string{":7000"}, "localhost:7000", ""},
		{"like nc", []string{"10.0.0.1", "7000"}, "10.0.0.1:7000", ""},
		{"IPv6", []string{"[::1]:7000"}, "[::1]:7000", ""},
		{"IPv6 like nc", []string{"::1", "7000"}, "[::1]:7000", ""},
		{"IPv6 in brackets like nc", []string{"[::1]", "7000"}, "[::1]:7000", ""},
		{"no host like nc", []string{"", "7000"}, "localhost:7000", ""},
		{"a unix socket", []string{"unix:/run/x.sock"}, "unix:/run/x.sock", ""},
		{"a unix socket near by", []string{"unix:x.sock"}, "unix:x.sock", ""},
		{"no port", []string{"example.org"}, "", `address "example.org": want HOST:PORT`},
		{"bare IPv6", []string{"::1"}, "", `address "::1": want HOST:PORT`},
		{"empty", []string{""}, "", `address "": want HOST:PORT`},
		{"port too large", []string{"a:65536"}, "", `port "65536": want 1 to 65535`},
		{"port zero", []string{"a:0"}, "", `port "0": want 1 to 65535`},
		{"port missing", []string{"a:"}, "", `port "": want 1 to 65535`},
		{"port is no service", []string{"a", "no such"}, "", `port "no such": want 1 to 65535`},
		{"a unix socket without a path", []string{"unix:"}, "", `address "unix:": want unix:/PATH`},
		{"a unix socket far away", []string{"unix:/" + strings.Repeat("x", 107)}, "", `address "unix:/x`},
		{"too many", []string{"a", "b", "c"}, "", "3 arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Address(c.args)
			if err != nil {
				got = ""
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("error: got %v, want %q", err, c.err)
			}
		})
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string][3]string{
		"unix:/run/x.sock": {"unix", "/run/x.sock", ""},
		"[::1]:7":          {"tcp", "[::1]:7", "::1"},
		"localhost:7":      {"tcp", "localhost:7", "localhost"},
	} {
		network, where := Network(address)
		if got := [3]string{network, where, Host(address)}; got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}
