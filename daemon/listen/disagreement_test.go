package listen

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/sockaddr"
)

// disagreement is what WarnDisagreement logs.
func disagreement(c config.Listener, lns []*Listener) string {
	var log bytes.Buffer
	WarnDisagreement(c, lns, slog.New(slog.NewTextHandler(&log, nil)))
	return log.String()
}

func TestWarnDisagreement(t *testing.T) {
	file := nullDevice(t)
	at := func(name, address string) *Listener {
		return &Listener{Name: name, File: file, Addr: sockaddr.ParseLocal(address), Inherited: true}
	}
	other := at("other", "127.0.0.1:99")
	none := &Listener{Name: "tcpmux", Address: "127.0.0.1:2", Inherited: true}
	for _, c := range []struct {
		name       string
		configured []string
		lns        []*Listener
		warns      bool
	}{
		{"agrees", []string{"127.0.0.1:1"}, []*Listener{at("tcpmux", "127.0.0.1:1"), other}, false},
		{"any port", []string{"127.0.0.1:0"}, []*Listener{at("tcpmux", "127.0.0.1:1"), other}, false},
		{"a unix socket", []string{"unix:/run/x.sock"}, []*Listener{at("tcpmux", "unix:/run/x.sock"), other}, false},
		{"another path", []string{"unix:/run/x.sock"}, []*Listener{at("tcpmux", "unix:/run/y.sock"), other}, true},
		{"another family", []string{"unix:/run/x.sock"}, []*Listener{at("tcpmux", "127.0.0.1:1"), other}, true},
		{"another port", []string{"127.0.0.1:1"}, []*Listener{at("tcpmux", "127.0.0.1:2"), other}, true},
		{"another address", []string{"127.0.0.1:1"}, []*Listener{at("tcpmux", "127.0.0.2:1"), other}, true},
		{
			"an address too few", []string{"127.0.0.1:1", "127.0.0.1:2"},
			[]*Listener{at("tcpmux", "127.0.0.1:1")}, true,
		},
		{
			"no socket", []string{"127.0.0.1:1", "127.0.0.1:2"},
			[]*Listener{at("tcpmux", "127.0.0.1:1"), none}, false,
		},
		{
			"no IPv6", []string{"0.0.0.0:1", "[::]:1"},
			[]*Listener{at("tcpmux", "0.0.0.0:1")}, false,
		},
		{
			"an interface without a name", []string{"[fe80::1%eth0]:1"},
			[]*Listener{at("tcpmux", "[fe80::1%7]:1")}, false,
		},
		{
			"another interface", []string{"[fe80::1%eth0]:1"},
			[]*Listener{at("tcpmux", "[fe80::1%eth1]:1")}, true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := listeners(append([]string{"tcpmux"}, c.configured...))[0]
			got := disagreement(cfg, c.lns)
			if want := map[bool]int{true: 1}[c.warns]; strings.Count(got, "differ from the configuration") != want {
				t.Errorf("got %q, want %d lines", got, want)
			}
		})
	}
}
