package daemon

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/systemd"
)

// bound is a listening socket as systemd passes it in.
func bound(t *testing.T, network, address string) *os.File {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fileOf(t, ln.(interface{ File() (*os.File, error) }))
}

// fileOf is the descriptor of something of package net.
func fileOf(t *testing.T, of interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := of.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func needIPv6(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		lacks(t, err.Error(), "sysctl net.ipv6.conf.lo.disable_ipv6=0")
	}
	_ = ln.Close()
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ name, address, dial string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"any IPv4", "0.0.0.0:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"any IPv6", "[::]:0", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.address, "[") {
				needIPv6(t)
			}
			d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Address = []string{c.address} }).open()
			conn := dial(t, net.JoinHostPort(c.dial, fmt.Sprint(d.ln.addr.Port())), nil)
			conn.hear("hello\r\n")
			conn.say("hi\n")
			d.records(" from " + conn.addr() + ": hi\n")
		})
	}
}

// TestWhoComesByIPv4IsOfIPv4 also through a socket for both, as systemd makes them: in records, and for the rules.
func TestWhoComesByIPv4IsOfIPv4(t *testing.T) {
	file := bound(t, "tcp", ":0") // for both where there is IPv6
	name, err := unix.Getsockname(int(file.Fd()))
	if _, both := name.(*unix.SockaddrInet6); err != nil || !both {
		lacks(t, "a socket for IPv6 and IPv4", "enable IPv6")
	}
	d := newDesk(t, func(c *config.Config) { c.Listeners[0].Limits.Deny = parsePrefixes("127.0.0.2/32") })
	settings, rules := d.ln.settings.Load(), d.ln.door.rules.Load()
	closeAll(d.lns)
	lns, err := listen(wants([]string{"tcpmux", "[::]:0"}), []systemd.Socket{{Name: "tcpmux", File: file}}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	d.ln = lns[0]
	d.ln.settings.Store(settings)
	d.ln.door.rules.Store(rules)
	d.open()
	address := fmt.Sprintf("127.0.0.1:%d", d.ln.addr.Port())
	c := dial(t, address, nil)
	c.hear(d.banner)
	c.say("hello\n")
	if got, want := d.records(": hello\n"), " from "+c.addr()+": hello\n"; !strings.Contains(got, want) || strings.Contains(got, "::ffff:") {
		t.Errorf("records: got %q, want %q and no other address", got, want)
	}
	dial(t, address, &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}).refused("")
}
