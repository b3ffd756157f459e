package sockaddr

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPeersAsText(t *testing.T) {
	for _, c := range []struct {
		name string
		peer Peer
		want string
	}{
		{"IPv4", TCP(netip.MustParseAddrPort("192.0.2.1:5")), "192.0.2.1:5"},
		{"IPv6", TCP(netip.MustParseAddrPort("[2001:db8::1]:5")), "[2001:db8::1]:5"},
		{"a process", Peer{Unix: true, UID: 1000, GID: 100, PID: 4711, Socket: 81234}, "uid=1000,gid=100,pid=4711,socket=81234"},
		{"root in another PID namespace", Peer{Unix: true, Socket: 1}, "uid=0,gid=0,pid=0,socket=1"},
		{
			"the largest numbers", Peer{Unix: true, UID: 1<<32 - 1, GID: 1<<32 - 1, PID: 1<<31 - 1, Socket: 1<<64 - 1},
			"uid=4294967295,gid=4294967295,pid=2147483647,socket=18446744073709551615",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.peer.String(); got != c.want || !c.peer.IsValid() {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got, ok := ParsePeer(c.want); !ok || got != c.peer {
				t.Errorf("parsed: got %+v and %v, want %+v", got, ok, c.peer)
			}
		})
	}
	for _, text := range []string{
		"", "uid=", "uid=1", "uid=1,gid=2,pid=3", "uid=1,gid=2,pid=3,socket=4,", "uid=01,gid=2,pid=3,socket=4",
		"uid=-1,gid=2,pid=3,socket=4", "uid=4294967296,gid=2,pid=3,socket=4", "uid=1,pid=2,gid=3,socket=4", "192.0.2.1", "unix:/run/x.sock",
	} {
		if got, ok := ParsePeer(text); ok {
			t.Errorf("%q: got %+v, want no peer", text, got)
		}
	}
}

// TestUsersAreSources that no address is, and that two users do not share.
func TestUsersAreSources(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := map[netip.Addr]uint32{}
	for range 1000 {
		p := Peer{Unix: true, UID: rnd.Uint32(), GID: rnd.Uint32(), PID: 1, Socket: rnd.Uint64()}
		at := p.Source()
		if !netip.MustParsePrefix("100::/64").Contains(at) {
			t.Fatalf("uid %d: got %v, want an address of 100::/64", p.UID, at)
		}
		if uid, known := seen[at]; known && uid != p.UID {
			t.Fatalf("uids %d and %d: both got %v", uid, p.UID, at)
		}
		seen[at] = p.UID
		other := p
		other.GID, other.PID, other.Socket = 7, 8, 9
		if got := other.Source(); got != at {
			t.Errorf("another process of uid %d: got %v, want %v", p.UID, got, at)
		}
	}
	p := TCP(netip.MustParseAddrPort("192.0.2.1:5"))
	if got := p.Source(); got != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("got %v, want the address", got)
	}
}

func TestPeerOfAUnixSocket(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	accepted := func() Peer {
		p, err := Accepted(fds[0], &syscall.SockaddrUnix{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	got := accepted()
	want := Peer{Unix: true, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid()), Socket: got.Socket}
	if got != want || got.Socket == 0 {
		t.Errorf("got %+v, want %+v and the number of the socket", got, want)
	}
	if err := unix.Close(fds[1]); err != nil {
		t.Fatal(err)
	}
	if again := accepted(); again != got {
		t.Errorf("after the peer's end: got %+v, want %+v", again, got)
	}
}

func TestSources(t *testing.T) {
	user := Peer{Unix: true, UID: 1000, GID: 1000, PID: 1, Socket: 2}
	root := Peer{Unix: true, PID: 1, Socket: 3}
	four := TCP(netip.MustParseAddrPort("192.0.2.1:5"))
	six := TCP(netip.MustParseAddrPort("[2001:db8::1]:5"))
	lookalike := TCP(netip.AddrPortFrom(user.Source(), 5))
	all := []Peer{user, root, four, six, lookalike}
	for _, c := range []struct {
		text string
		want []Peer
		ok   bool
	}{
		{"", all, true},
		{"uid=1000", []Peer{user}, true},
		{"uid=0", []Peer{root}, true},
		{"192.0.2.1", []Peer{four}, true},
		{"::ffff:192.0.2.0/120", []Peer{four}, true},
		{"0.0.0.0/0", []Peer{four}, true},
		{"::/0", []Peer{six, lookalike}, true},
		{"100::/64", []Peer{lookalike}, true},
		{"uid=", nil, false},
		{"uid=alice", nil, false},
		{"uid=-1", nil, false},
		{"uid=4294967296", nil, false},
		{"example.com", nil, false},
	} {
		t.Run(c.text, func(t *testing.T) {
			s, ok := ParseSources(c.text)
			if ok != c.ok || s.Everybody() != (c.text == "") {
				t.Errorf("got %+v and %v, want ok to be %v", s, ok, c.ok)
			}
			for _, p := range all {
				want := false
				for _, w := range c.want {
					want = want || w == p
				}
				if got := s.Contains(p); got != want {
					t.Errorf("%v: got %v, want %v", p, got, want)
				}
			}
		})
	}
}

func TestLocal(t *testing.T) {
	for _, c := range []struct {
		name string
		sa   syscall.Sockaddr
		want string
	}{
		{"IPv4", &syscall.SockaddrInet4{Port: 4711, Addr: [4]byte{192, 0, 2, 7}}, "192.0.2.7:4711"},
		{"IPv6", &syscall.SockaddrInet6{Port: 1, Addr: [16]byte{15: 1}}, "[::1]:1"},
		{"a path", &syscall.SockaddrUnix{Name: "/run/x.sock"}, "unix:/run/x.sock"},
		{"no name", &syscall.SockaddrUnix{}, "unix:@"},
		{"an abstract name", &syscall.SockaddrUnix{Name: "@x"}, "unix:@x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := LocalOf(c.sa)
			if got.String() != c.want || string(got.AppendTo(nil)) != c.want || !got.IsValid() {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if again := ParseLocal(c.want); again != got {
				t.Errorf("parsed: got %+v, want %+v", again, got)
			}
		})
	}
	if got, want := (Local{Path: "/run/a\nb"}).String(), `unix:"/run/a\nb"`; got != want {
		t.Errorf("unsafe: got %q, want %q", got, want)
	}
	if l := ParseLocal("nothing"); l.IsValid() || LocalOf(nil).IsValid() {
		t.Errorf("got %v, want nothing", l)
	}
}
