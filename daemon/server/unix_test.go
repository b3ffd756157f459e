package server_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/servertest"
)

// atUnixSocket is servertest.New at a unix socket, and opens it.
func atUnixSocket(t *testing.T, change func(*config.Config)) (*servertest.Fixture, string) {
	t.Helper()
	listens, path := servertest.UnixSocket(t)
	f := servertest.New(t, func(cfg *config.Config) {
		listens(cfg)
		if change != nil {
			change(cfg)
		}
	})
	return f.Open(), path
}

// dialUnix connects this process.
func dialUnix(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(servertest.Patience))
	return conn
}

// TestClientsOfUnixSocketsAreKnown, three users at once, in banners, records, sessions and filters.
func TestClientsOfUnixSocketsAreKnown(t *testing.T) {
	f, path := atUnixSocket(t, func(cfg *config.Config) {
		cfg.Listeners[0].Banner = config.Text("{client} at {server}\n")
		cfg.Listeners[0].Ack = config.Text("ok\n")
	})
	type user struct{ uid, gid uint32 }
	users := []user{{uint32(os.Getuid()), uint32(os.Getgid())}, {1201, 1301}, {4294967294, 1302}}
	clients := map[user]*servertest.User{}
	for _, u := range users {
		c := servertest.ConnectAs(t, path, u.uid, u.gid)
		clients[u] = c
		who, at, _ := strings.Cut(c.HearLine(), " at ")
		if !regexp.MustCompile("^"+c.Who()+`[1-9]\d*$`).MatchString(who) || at != "unix:"+path {
			t.Errorf("got %q at %q, want %s and a number, at unix:%s", who, at, c.Who(), path)
		}
		c.Say("hello\n")
		c.Hear("ok\n")
		f.AwaitRecords(" open from "+who+"\n", " from "+who+": hello\n")
	}
	for _, u := range users {
		got := f.Server.Sessions(api.Filter{Source: fmt.Sprintf("uid=%d", u.uid)})
		if len(got.Sessions) != 1 || !strings.HasPrefix(got.Sessions[0].Remote, clients[u].Who()) {
			t.Errorf("uid %d: got %+v, want its session", u.uid, got.Sessions)
		}
		if d, known := f.Server.Session(got.Sessions[0].ID); !known || d.TCP != nil || d.Local != "unix:"+path {
			t.Errorf("uid %d: got %+v, want that it is at unix:%s, and nothing of TCP", u.uid, d, path)
		}
	}
	for _, source := range []string{"0.0.0.0/0", "::/0", "100::/64", "uid=1301", "uid=x"} {
		if got := f.Server.Sessions(api.Filter{Source: source}); got.Total != 0 {
			t.Errorf("source %s: got %d sessions, want none", source, got.Total)
		}
	}
	if n := f.Server.Kill(api.Filter{Source: "uid=1201"}); n != 1 {
		t.Errorf("kill: got %d, want 1", n)
	}
	f.AwaitRecords(": killed, 1 records, 6 bytes\n")
	if rest := clients[users[1]].Finish(); rest != "" {
		t.Errorf("killed: heard %q, want nothing more", rest)
	}
	for _, u := range []user{users[0], users[2]} {
		clients[u].Say("half")
		if rest := clients[u].Finish(); rest != "ok\n" {
			t.Errorf("uid %d: heard %q, want an acknowledgement and the end", u.uid, rest)
		}
	}
	got := f.AwaitRecords(": eof, 2 records, 10 bytes\n")
	if strings.Count(got, " [eof]: half\n") == 0 {
		t.Errorf("got %s, want the half lines", got)
	}
}

// TestLimitsPerSourceAreThoseOfAUser, whatever the process, and however wide source_prefix is.
func TestLimitsPerSourceAreThoseOfAUser(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		limit        func(*config.Limits)
	}{
		{"clients", "source=1", func(l *config.Limits) { l.ClientsPerSource = 1 }},
		{"rate", "rate=1", func(l *config.Limits) { l.RatePerSource = config.Rate{Count: 1, Per: time.Hour} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, path := atUnixSocket(t, func(cfg *config.Config) {
				c.limit(&cfg.Limits)
				cfg.Limits.SourcePrefix = config.SourcePrefix{IPv4: 1, IPv6: 1}
				cfg.Listeners[0].Limits.Refusal = config.Text("one is enough\n")
			})
			first := servertest.ConnectAs(t, path, 1201, 1301)
			first.Hear(f.Banner)
			again := servertest.ConnectAs(t, path, 1201, 1302)
			if got := again.Finish(); got != "one is enough\n" {
				t.Errorf("the same user: heard %q, want the refusal", got)
			}
			servertest.ConnectAs(t, path, 1202, 1301).Hear(f.Banner)
			awaitRefused(t, f, 1)
			f.Server.Report(logging.SummaryInterval)
			wantLine(t, f.Log, "clients refused", " "+c.reason+" ", `last="`+again.Who())
			if c.name == "rate" {
				return
			}
			if rest := first.Finish(); rest != "" {
				t.Errorf("heard %q, want nothing more", rest)
			}
			f.AwaitRecords(": eof, 0 records, 0 bytes\n")
			servertest.Eventually(t, func() bool { return f.Server.Clients() == 1 }, func() { t.Error("the first client does not end") })
			servertest.ConnectAs(t, path, 1201, 1301).Hear(f.Banner)
		})
	}
}

// TestRulesAreForAddresses: who may connect to a unix socket is for its mode to say.
func TestRulesAreForAddresses(t *testing.T) {
	f, path := atUnixSocket(t, func(cfg *config.Config) {
		cfg.Listeners[0].Limits.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		cfg.Listeners[0].Limits.Deny = []netip.Prefix{netip.MustParsePrefix("::/0")}
	})
	servertest.ConnectAs(t, path, 1201, 1301).Hear(f.Banner)
}

// TestAProxyAtAUnixSocketNamesItsClients, who have addresses, and to whom the rules apply.
func TestAProxyAtAUnixSocketNamesItsClients(t *testing.T) {
	f, path := atUnixSocket(t, func(cfg *config.Config) {
		l := &cfg.Listeners[0]
		l.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} // no address matters here
		l.Limits.Deny = []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}
		l.Limits.Refusal = config.Text("no\r\n")
	})
	proxy := servertest.ConnectAs(t, path, 1201, 1301)
	proxy.Say("PROXY TCP4 198.51.100.1 203.0.113.1 1234 80\r\nhello\n")
	proxy.Hear(f.Banner)
	f.AwaitRecords(" open from 198.51.100.1:1234 via "+proxy.Who(), " from 198.51.100.1:1234: hello\n")
	denied := servertest.ConnectAs(t, path, 1201, 1301)
	denied.Say("PROXY TCP4 198.51.100.7 203.0.113.1 1234 80\r\nhello\n")
	denied.Hear("no\r\n")
	local := servertest.ConnectAs(t, path, 1202, 1301)
	local.Say("PROXY UNKNOWN\r\nhealth check\n")
	local.Hear(f.Banner)
	f.AwaitRecords(" open from "+local.Who(), ": health check\n")
}

// TestUrgentBytesAndDescriptorsAtAUnixSocket: an urgent byte is one of the stream. Descriptors that
// are sent along are closed, and cut nothing.
func TestUrgentBytesAndDescriptorsAtAUnixSocket(t *testing.T) {
	f, path := atUnixSocket(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("") })
	conn := dialUnix(t, path)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) {
		for _, part := range []struct {
			text  string
			along []byte
			flags int
		}{{"one ", nil, 0}, {"with a pipe ", unix.UnixRights(int(w.Fd())), 0}, {"then ", nil, 0}, {"!", nil, unix.MSG_OOB}, {" end\n", nil, 0}} {
			if serr := unix.Sendmsg(int(fd), []byte(part.text), part.along, nil, part.flags); serr != nil && err == nil {
				err = serr
			}
		}
	})
	if cerr != nil || err == unix.EOPNOTSUPP {
		t.Skipf("%v, %v: the kernel has no urgent bytes here (CONFIG_AF_UNIX_OOB)", cerr, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.AwaitRecords(": one with a pipe then ! end\n")
	_ = w.Close() // ours; that of the server is closed already
	_ = r.SetReadDeadline(time.Now().Add(servertest.Patience))
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("got %d bytes and %v, want the end of the pipe: nobody else has it", n, err)
	}
	_ = r.Close()
}

// TestTheFileOfAUnixSocketGoesBeforeItsBacklog: clients that have connected by then are
// served, and no more connect.
func TestTheFileOfAUnixSocketGoesBeforeItsBacklog(t *testing.T) {
	listens, path := servertest.UnixSocket(t)
	accept := servertest.NewHangingAccept()
	var late atomic.Int32
	f := servertest.New(t, listens, servertest.Accept(func(fd int) (int, syscall.Sockaddr, error) {
		conn, sa, err := accept.Accept(fd)
		if _, gone := os.Lstat(path); err == nil && !os.IsNotExist(gone) {
			late.Add(1)
		}
		return conn, sa, err
	})).Open()
	<-accept.Hangs
	for i := range 5 {
		fmt.Fprintf(dialUnix(t, path), "from the backlog %d\n", i)
	}
	ended := f.Shutdown(t.Context())
	accept.Release()
	for i := range 5 {
		f.AwaitRecords(fmt.Sprintf(": from the backlog %d\n", i))
	}
	f.Close() // the clients do not end by themselves
	_ = servertest.Result(t, ended)
	if n := late.Load(); n > 0 {
		t.Errorf("got %d clients accepted from the backlog while others could connect, want none", n)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("got error %v, want no file", err)
	}
}

// TestAUnixClientThatBreaksOff: it has sent something, and has not taken what it was sent.
func TestAUnixClientThatBreaksOff(t *testing.T) {
	f, path := atUnixSocket(t, nil)
	conn := dialUnix(t, path)
	f.AwaitRecords(" open from uid=")
	fmt.Fprint(conn, "last words\n")
	_ = conn.Close()
	f.AwaitRecords(": last words\n", ": reset, 1 records, 11 bytes\n")
}
