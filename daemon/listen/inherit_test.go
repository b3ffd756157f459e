package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/systemd"
)

func TestMatch(t *testing.T) {
	type sockets = [][2]string // name and address
	one := listeners([]string{"tcpmux", "127.0.0.1:12345"})
	two := listeners([]string{"tcpmux", "0.0.0.0:1", "[::]:1"}, []string{"telnet", "127.0.0.1:23"})
	both := listeners([]string{"tcpmux", "127.0.0.1:1", "unix:/run/x.sock"})
	anyPort := listeners([]string{"a", "127.0.0.1:0"})
	ordered := listeners([]string{"a", "127.0.0.1:1"}, []string{"b", "127.0.0.1:2"})
	for _, c := range []struct {
		name    string
		cfg     []config.Listener
		sockets sockets
		want    string   // listener=address for each socket, by listener
		left    []string // sockets that no listener takes, and addresses without a socket
	}{
		{"by name", one, sockets{{"tcpmux", "10.0.0.1:99"}}, "tcpmux=10.0.0.1:99", nil},
		{
			"several by one name", one, sockets{{"tcpmux", "10.0.0.1:99"}, {"tcpmux", "[::1]:99"}},
			"tcpmux=10.0.0.1:99 tcpmux=[::1]:99", nil,
		},
		{
			"by address", two, sockets{{"x", "127.0.0.1:23"}, {"x", "[::]:1"}, {"x", "0.0.0.0:1"}},
			"tcpmux=0.0.0.0:1 tcpmux=[::]:1 telnet=127.0.0.1:23", nil,
		},
		{
			"name before address", two, sockets{{"telnet", "0.0.0.0:1"}, {"", "[::]:1"}, {"", "0.0.0.0:2"}},
			"tcpmux=[::]:1 tcpmux=0.0.0.0:2 telnet=0.0.0.0:1", nil,
		},
		{"in order", one, sockets{{"tcpmux.socket", "0.0.0.0:7"}}, "tcpmux=0.0.0.0:7", nil},
		{
			"in order, two", ordered, sockets{{"", "127.0.0.1:8"}, {"", "127.0.0.1:7"}},
			"a=127.0.0.1:8 b=127.0.0.1:7", nil,
		},
		{
			"order for the rest", two, sockets{{"", "127.0.0.1:99"}, {"", "0.0.0.0:1"}, {"", "[::]:1"}},
			"tcpmux=0.0.0.0:1 tcpmux=[::]:1 telnet=127.0.0.1:99", nil,
		},
		{"port 0 is any", anyPort, sockets{{"", "127.0.0.1:8"}}, "a=127.0.0.1:8", nil},
		{
			"a socket too many", one, sockets{{"", "127.0.0.1:12345"}, {"other", "127.0.0.1:9"}},
			"tcpmux=127.0.0.1:12345", []string{`socket "other" (127.0.0.1:9)`},
		},
		{
			"two sockets that fit nothing", one, sockets{{"x", "127.0.0.1:8"}, {"y", "127.0.0.1:9"}}, "",
			[]string{`socket "x" (127.0.0.1:8)`, `socket "y" (127.0.0.1:9)`, `tcpmux 127.0.0.1:12345`},
		},
		{
			"a listener too many", two, sockets{{"tcpmux", "0.0.0.0:1"}},
			"tcpmux=0.0.0.0:1", []string{"telnet 127.0.0.1:23"},
		},
		{
			"unix by name", both, sockets{{"tcpmux", "unix:/run/other.sock"}, {"tcpmux", "127.0.0.1:1"}},
			"tcpmux=unix:/run/other.sock tcpmux=127.0.0.1:1", nil,
		},
		{
			"unix by path", both, sockets{{"x", "unix:/run/x.sock"}, {"y", "127.0.0.1:1"}},
			"tcpmux=127.0.0.1:1 tcpmux=unix:/run/x.sock", nil,
		},
		{
			"a unix socket too many", one, sockets{{"", "127.0.0.1:12345"}, {"y", "unix:/run/x.sock"}},
			"tcpmux=127.0.0.1:12345", []string{`socket "y" (unix:/run/x.sock)`},
		},
		{
			"an address too many", two, sockets{{"telnet", "127.0.0.1:23"}, {"", "0.0.0.0:1"}},
			"tcpmux=0.0.0.0:1 telnet=127.0.0.1:23", []string{"tcpmux [::]:1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var given []*passed
			for _, s := range c.sockets {
				given = append(given, &passed{name: s[0], addr: sockaddr.ParseLocal(s[1])})
			}
			found, missing, surplus := match(c.cfg, given)
			var got, left []string
			for _, p := range surplus {
				left = append(left, p.String())
			}
			for _, l := range c.cfg {
				for _, p := range found[l.Name] {
					got = append(got, l.Name+"="+p.addr.String())
				}
				for _, address := range missing[l.Name] {
					left = append(left, l.Name+" "+address)
				}
			}
			if strings.Join(got, " ") != c.want || !slices.Equal(left, c.left) {
				t.Errorf("got %q and %q left, want %q and %q", got, left, c.want, c.left)
			}
		})
	}
}

func udpSocket(t *testing.T) *os.File {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return fileOf(t, conn.(*net.UDPConn))
}

func unixDatagrams(t *testing.T) *os.File {
	conn, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return fileOf(t, conn.(*net.UnixConn))
}

func unixPackets(t *testing.T) *os.File {
	return bound(t, "unixpacket", filepath.Join(t.TempDir(), "s"))
}

func connection(t *testing.T) *os.File {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return fileOf(t, conn.(*net.TCPConn))
}

func pipe(t *testing.T) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(); _ = r.Close() })
	return r
}

func nullDevice(t *testing.T) *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestEachDescriptorThatIsNoListenerIsNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		file func(t *testing.T) *os.File
		want string
	}{
		{"udp", udpSocket, "want a listener of TCP or of a unix socket (ListenStream= with a port or a path), it is of another kind"},
		{"unix datagrams", unixDatagrams, "it is of another kind"},
		{"unix packets", unixPackets, "it is of another kind"},
		{"connection", connection, "it is a connection: set Accept=no"},
		{"pipe", pipe, "ListenStream= with a port or a path): socket operation on non-socket"},
		{"file", nullDevice, "socket operation on non-socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sockets := []systemd.Socket{
				{Name: "good", File: bound(t, "tcp", "127.0.0.1:0")},
				{Name: "the " + c.name, File: c.file(t)},
			}
			lns, err := listen(t, listeners([]string{"good", "127.0.0.1:0"}), sockets)
			if err == nil || !holdsAll(err.Error(), []string{`socket "the ` + c.name + `"`, c.want}) {
				t.Errorf("got %v, want the socket's name and %q", err, c.want)
			}
			if !errors.Is(err, config.ErrInvalid) {
				t.Errorf("got %v, want an error that a restart does not remove: %v", err, config.ErrInvalid)
			}
			if len(lns) != 1 || lns[0].Name != "good" {
				t.Errorf("got %v, want the good one", lns)
			}
		})
	}
}

func TestASocketThatMatchesNothingIsAnInvalidConfiguration(t *testing.T) {
	sockets := []systemd.Socket{
		{Name: "a", File: bound(t, "tcp", "127.0.0.1:0")},
		{Name: "b", File: bound(t, "tcp", "127.0.0.1:0")},
	}
	_, err := listen(t, listeners([]string{"tcpmux", "127.0.0.1:1"}), sockets)
	want := []string{`socket "a"`, `socket "b"`, `listener "tcpmux" (127.0.0.1:1)`, RemakeSockets}
	if !errors.Is(err, config.ErrInvalid) || !holdsAll(err.Error(), want) {
		t.Errorf("got %v, want %v with %q in it", err, config.ErrInvalid, want)
	}
}

// TestWithoutAServiceManagerMissingSocketsAreBound: after an upgrade in place the sockets come from
// the process before, and systemd opens no others.
func TestWithoutAServiceManagerMissingSocketsAreBound(t *testing.T) {
	for _, ours := range []bool{false, true} {
		sockets := []systemd.Socket{{Name: "a", File: bound(t, "tcp", "127.0.0.1:0"), Ours: ours}}
		cfg := listeners([]string{"a", "127.0.0.1:0"}, []string{"b", "127.0.0.1:0"})
		lns, err := listen(t, cfg, sockets)
		if want := map[bool]int{false: 1, true: 2}[ours]; len(lns) != want || (err == nil) != ours {
			t.Errorf("ours=%v: got %v and %v, want %d sockets", ours, lns, err, want)
		}
		for _, ln := range lns {
			if ln.Inherited == ours {
				t.Errorf("ours=%v: %v: got Inherited %v, want %v", ours, ln, ln.Inherited, !ours)
			}
		}
	}
}

// TestWithoutIPv6AllAddressesAreThoseOfIPv4: ":12345" then has one socket, ours or systemd's.
func TestWithoutIPv6AllAddressesAreThoseOfIPv4(t *testing.T) {
	lns, left := Open(listeners([]string{"tcpmux", "0.0.0.0:0", "[::]:0"}), nil, false)
	if len(lns) != 1 || len(left) != 0 || lns[0].Address != "0.0.0.0:0" {
		t.Errorf("sockets of our own: got %v and %v, want that of IPv4", lns, left)
	}
	for _, name := range []string{"tcpmux", ""} {
		socket := bound(t, "tcp4", "0.0.0.0:0")
		port := portOf(t, socket)
		cfg := listeners([]string{"tcpmux", "0.0.0.0:" + port, "[::]:" + port})
		// In the sandbox there is none either way.
		for _, ipv6 := range []bool{false, true} {
			lns, left := Open(cfg, []systemd.Socket{{Name: name, File: socket}}, ipv6)
			if len(lns) != 1 || len(left) != 0 || lns[0].File == nil {
				t.Fatalf("a socket %q of systemd: got %v and %v, want it served", name, lns, left)
			}
			if got := disagreement(cfg[0], lns); got != "" {
				t.Errorf("a socket %q of systemd: got %s, want no warning", name, got)
			}
			_ = lns[0].Close()
		}
	}
}
