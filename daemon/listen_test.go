package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/systemd"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// wants are listeners by name, with their addresses.
func wants(listeners ...[]string) (cfg []config.Listener) {
	for _, l := range listeners {
		c := config.Default().Listeners[0]
		c.Name, c.Address = l[0], l[1:]
		cfg = append(cfg, c)
	}
	return cfg
}

func TestMatch(t *testing.T) {
	type sockets = [][2]string // name and address
	one := wants([]string{"tcpmux", "127.0.0.1:12345"})
	two := wants([]string{"tcpmux", "0.0.0.0:1", "[::]:1"}, []string{"telnet", "127.0.0.1:23"})
	for _, c := range []struct {
		name    string
		cfg     []config.Listener
		sockets sockets
		want    string   // listener=address for each socket, by listener
		left    []string // sockets that are nobody's, and addresses that have none
	}{
		{"by name", one, sockets{{"tcpmux", "10.0.0.1:99"}}, "tcpmux=10.0.0.1:99", nil},
		{"several by one name", one, sockets{{"tcpmux", "10.0.0.1:99"}, {"tcpmux", "[::1]:99"}}, "tcpmux=10.0.0.1:99 tcpmux=[::1]:99", nil},
		{"by address", two, sockets{{"x", "127.0.0.1:23"}, {"x", "[::]:1"}, {"x", "0.0.0.0:1"}}, "tcpmux=0.0.0.0:1 tcpmux=[::]:1 telnet=127.0.0.1:23", nil},
		{"name before address", two, sockets{{"telnet", "0.0.0.0:1"}, {"", "[::]:1"}, {"", "0.0.0.0:2"}}, "tcpmux=[::]:1 tcpmux=0.0.0.0:2 telnet=0.0.0.0:1", nil},
		{"in order", one, sockets{{"tcpmux.socket", "0.0.0.0:7"}}, "tcpmux=0.0.0.0:7", nil},
		{"in order, two", wants([]string{"a", "127.0.0.1:1"}, []string{"b", "127.0.0.1:2"}), sockets{{"", "127.0.0.1:8"}, {"", "127.0.0.1:7"}}, "a=127.0.0.1:8 b=127.0.0.1:7", nil},
		{"order for the rest", two, sockets{{"", "127.0.0.1:99"}, {"", "0.0.0.0:1"}, {"", "[::]:1"}}, "tcpmux=0.0.0.0:1 tcpmux=[::]:1 telnet=127.0.0.1:99", nil},
		{"port 0 is any", wants([]string{"a", "127.0.0.1:0"}), sockets{{"", "127.0.0.1:8"}}, "a=127.0.0.1:8", nil},
		{"a socket too many", one, sockets{{"", "127.0.0.1:12345"}, {"other", "127.0.0.1:9"}}, "tcpmux=127.0.0.1:12345", []string{`socket "other" (127.0.0.1:9)`}},
		{"two sockets for nobody", one, sockets{{"x", "127.0.0.1:8"}, {"y", "127.0.0.1:9"}}, "", []string{`socket "x" (127.0.0.1:8)`, `socket "y" (127.0.0.1:9)`, `tcpmux 127.0.0.1:12345`}},
		{"a listener too many", two, sockets{{"tcpmux", "0.0.0.0:1"}}, "tcpmux=0.0.0.0:1", []string{"telnet 127.0.0.1:23"}},
		{"an address too many", two, sockets{{"telnet", "127.0.0.1:23"}, {"", "0.0.0.0:1"}}, "tcpmux=0.0.0.0:1 telnet=127.0.0.1:23", []string{"tcpmux [::]:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var given []*passed
			for _, s := range c.sockets {
				given = append(given, &passed{name: s[0], addr: netip.MustParseAddrPort(s[1])})
			}
			sockOf, wants, surplus := match(c.cfg, given)
			var got, left []string
			for _, p := range surplus {
				left = append(left, p.String())
			}
			for _, l := range c.cfg {
				for _, p := range sockOf[l.Name] {
					got = append(got, l.Name+"="+p.addr.String())
				}
				for _, address := range wants[l.Name] {
					left = append(left, l.Name+" "+address)
				}
			}
			if strings.Join(got, " ") != c.want || !slices.Equal(left, c.left) {
				t.Errorf("got %q and %q left, want %q and %q", got, left, c.want, c.left)
			}
		})
	}
}

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

func TestEachDescriptorThatIsNoTCPListenerIsNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		file func(t *testing.T) *os.File
		want string
	}{
		{"udp", func(t *testing.T) *os.File {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return fileOf(t, conn.(*net.UDPConn))
		}, "want a TCP listener (ListenStream= with a port), it is of another kind"},
		{"unix", func(t *testing.T) *os.File { return bound(t, "unix", filepath.Join(t.TempDir(), "s")) }, "it is of another kind"},
		{"connection", func(t *testing.T) *os.File {
			conn := newDesk(t, nil).open().greeted()
			return fileOf(t, conn)
		}, "it is a connection: set Accept=no"},
		{"pipe", func(t *testing.T) *os.File {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = w.Close(); _ = r.Close() })
			return r
		}, "want a TCP listener (ListenStream= with a port): socket operation on non-socket"},
		{"file", func(t *testing.T) *os.File {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			return f
		}, "socket operation on non-socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := bound(t, "tcp", "127.0.0.1:0")
			sockets := []systemd.Socket{{Name: "good", File: good}, {Name: "the " + c.name, File: c.file(t)}}
			lns, err := listen(wants([]string{"good", "127.0.0.1:0"}), sockets, quiet)
			if err == nil || !holdsAll(err.Error(), []string{`socket "the ` + c.name + `"`, c.want}) {
				t.Errorf("got %v, want the socket's name and %q", err, c.want)
			}
			if !errors.Is(err, config.ErrInvalid) {
				t.Errorf("got %v, want what a restart does not mend: %v", err, config.ErrInvalid)
			}
			if len(lns) != 1 || lns[0].name != "good" {
				t.Errorf("got %v, want the good one", lns)
			}
			closeAll(lns)
		})
	}
}

func TestASocketThatMatchesNothingIsAnInvalidConfiguration(t *testing.T) {
	socks := []systemd.Socket{{Name: "a", File: bound(t, "tcp", "127.0.0.1:0")}, {Name: "b", File: bound(t, "tcp", "127.0.0.1:0")}}
	_, err := listen(wants([]string{"tcpmux", "127.0.0.1:1"}), socks, quiet)
	want := []string{`socket "a"`, `socket "b"`, `listener "tcpmux" (127.0.0.1:1)`, "systemctl daemon-reload && systemctl restart tcpmux.socket"}
	if !errors.Is(err, config.ErrInvalid) || !holdsAll(err.Error(), want) {
		t.Errorf("got %v, want %v with %q in it", err, config.ErrInvalid, want)
	}
}

// backlogOf is the backlog in force (tcp(7), TCP_INFO: for a listener the kernel shows it where a connection has sacked).
func backlogOf(t *testing.T, ln *listener) (got int) {
	t.Helper()
	if err := ln.control(func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		got = int(info.Sacked)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBacklogIsAppliedToBothKinds(t *testing.T) {
	for _, backlog := range []int{1, 7, 100} {
		for _, kind := range []string{"bound", "inherited"} {
			t.Run(fmt.Sprint(kind, backlog), func(t *testing.T) {
				cfg := wants([]string{"tcpmux", "127.0.0.1:0"})
				cfg[0].Backlog = backlog
				var sockets []systemd.Socket
				if kind == "inherited" {
					sockets = []systemd.Socket{{Name: "tcpmux", File: bound(t, "tcp", "127.0.0.1:0")}}
				}
				lns, err := listen(cfg, sockets, quiet)
				if err != nil {
					t.Fatal(err)
				}
				defer closeAll(lns)
				if got := backlogOf(t, lns[0]); got != backlog {
					t.Errorf("got %d, want %d", got, backlog)
				}
				if got := lns[0].inherited; got != (kind == "inherited") {
					t.Errorf("inherited: got %v", got)
				}
			})
		}
	}
}

func TestConnectionsInheritWhatTheyNeed(t *testing.T) {
	d := newDesk(t, nil)
	d.client()
	err := d.ln.control(func(fd int) error {
		conn, _, err := unix.Accept(fd)
		if err != nil {
			return err
		}
		defer unix.Close(conn)
		for _, o := range []struct {
			name         string
			level, which int
			want         int
		}{
			{"keepalive", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"keepalive idle", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
			{"keepalive interval", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{"keepalive probes", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
			{"user timeout", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 120_000},
			{"no delay", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		} {
			if got, err := unix.GetsockoptInt(conn, o.level, o.which); err != nil || got != o.want {
				t.Errorf("%s: got %d and %v, want %d", o.name, got, err, o.want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
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

// TestAllOfIPv4AndIPv6ShareAPort as "0.0.0.0:P" and "[::]:P".
func TestAllOfIPv4AndIPv6ShareAPort(t *testing.T) {
	needIPv6(t)
	for try := 0; ; try++ {
		free, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		port := free.Addr().(*net.TCPAddr).Port
		_ = free.Close()
		lns, err := listen(wants([]string{"tcpmux", fmt.Sprintf("0.0.0.0:%d", port), fmt.Sprintf("[::]:%d", port)}), nil, quiet)
		if err != nil && try < 5 { // somebody else may have taken the port meanwhile
			continue
		}
		if err != nil || len(lns) != 2 || lns[0].addr.Port() != lns[1].addr.Port() {
			t.Errorf("got %v and %v, want two listeners", lns, err)
		}
		closeAll(lns)
		return
	}
}

func TestErrorsOfBindNameTheListener(t *testing.T) {
	taken := bound(t, "tcp", "127.0.0.1:0")
	sa, err := unix.Getsockname(int(taken.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	port := sa.(*unix.SockaddrInet4).Port
	for _, c := range []struct {
		name, address string
		cause         error
		want          []string
	}{
		{"in use", fmt.Sprintf("127.0.0.1:%d", port), unix.EADDRINUSE, []string{"another program listens there"}},
		{"nobody's", "192.0.2.1:0", unix.EADDRNOTAVAIL, []string{"no interface has this address"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lns, err := listen(wants([]string{"first", "127.0.0.1:0"}, []string{"telnet", c.address}), nil, quiet)
			if !errors.Is(err, c.cause) || !holdsAll(err.Error(), append(c.want, `listener "telnet"`, c.address)) {
				t.Errorf("got %v, want %v, the listener, the address and %q", err, c.cause, c.want)
			}
			if len(lns) != 1 || lns[0].name != "first" {
				t.Errorf("got %v, want the first", lns)
			}
			closeAll(lns)
		})
	}
}

// TestWithoutIPv6AllAddressesAreThoseOfIPv4: ":12345" is served there, by a socket of our own and by one of systemd's.
func TestWithoutIPv6AllAddressesAreThoseOfIPv4(t *testing.T) {
	own := wants([]string{"tcpmux", "0.0.0.0:0", "[::]:0"})
	lns, left := listenersOf(own, nil, false)
	if len(lns) != 1 || len(left) != 0 || lns[0].address != "0.0.0.0:0" {
		t.Errorf("sockets of our own: got %v and %v, want that of IPv4", lns, left)
	}
	for _, name := range []string{"tcpmux", ""} {
		socket := bound(t, "tcp4", "0.0.0.0:0")
		port := localPort(t, socket)
		passed, log := wants([]string{"tcpmux", "0.0.0.0:" + port, "[::]:" + port}), &page{}
		for _, ipv6 := range []bool{false, true} { // in the sandbox there is none either way
			lns, left := listenersOf(passed, []systemd.Socket{{Name: name, File: socket}}, ipv6)
			if len(lns) != 1 || len(left) != 0 || lns[0].file == nil {
				t.Fatalf("a socket %q of systemd's: got %v and %v, want it served", name, lns, left)
			}
			warnOfDisagreement(passed[0], lns, slog.New(slog.NewTextHandler(log, nil)))
			_ = lns[0].file.Close()
		}
		if log.String() != "" {
			t.Errorf("a socket %q of systemd's: got %s, want no warning", name, log)
		}
	}
}

func localPort(t *testing.T, socket *os.File) string {
	t.Helper()
	ln, err := net.FileListener(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

func TestSocketsThatDifferFromTheConfigurationAreServedAndTold(t *testing.T) {
	for _, c := range []struct {
		name, address string
		told          int
	}{
		{"agrees", "127.0.0.1:0", 0},
		{"differs", "127.0.0.1:1", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &page{}
			sockets := []systemd.Socket{{Name: "tcpmux", File: bound(t, "tcp", "127.0.0.1:0")}}
			lns, err := listen(wants([]string{"tcpmux", c.address}), sockets, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(lns)
			if got := strings.Count(log.String(), "differ from the configuration"); got != c.told {
				t.Errorf("told %d times, want %d: %s", got, c.told, log)
			}
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
