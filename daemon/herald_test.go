package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/state"
)

const proxyLine = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"

// behindProxy is a change by which the clients come through a proxy on this machine.
func behindProxy(cfg *config.Config) {
	cfg.Listeners[0].ProxyProtocol = parsePrefixes("127.0.0.1/32")
	cfg.Listeners[0].Banner = config.Text("hello {client}\r\n")
}

func TestAProxysClientIsServed(t *testing.T) {
	const v2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb"
	value := "\xe0\x10\x00" + strings.Repeat("\n", 4<<10) // of a type for whoever likes
	large := v2[:14] + "\x30\x15" + v2[16:] + strings.Repeat(value, 3)
	for _, c := range []struct {
		name   string
		says   []string
		client string // "": the proxy itself
	}{
		{"version 1", []string{proxyLine, "one\nhalf"}, "192.0.2.1:1234"},
		{"version 1, with the first message", []string{proxyLine + "one\nhalf"}, "192.0.2.1:1234"},
		{"version 1, byte by byte", append(strings.Split(proxyLine, ""), "one\nhalf"), "192.0.2.1:1234"},
		{"version 1, unknown", []string{"PROXY UNKNOWN\r\none\nhalf"}, ""},
		{"version 2", []string{v2 + "one\nhalf"}, "192.0.2.1:1234"},
		{"version 2, with values of 4 KiB", []string{large[:600], large[600:], "one\nhalf"}, "192.0.2.1:1234"},
		{"version 2, with values of 4 KiB and the first message", []string{large + "one\nhalf"}, "192.0.2.1:1234"},
		{"version 2, in two", []string{v2[:13], v2[13:], "one\nhalf"}, "192.0.2.1:1234"},
		{"version 2, local", []string{v2[:12] + "\x20\x00\x00\x00one\nhalf"}, ""},
		{"a header within what the client says", []string{proxyLine + proxyLine + "one\nhalf"}, "192.0.2.1:1234"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, behindProxy).open()
			conn := d.client()
			for _, s := range c.says {
				conn.say(s)
			}
			client, open := c.client, " open from "+c.client+" via "+conn.addr()+"\n"
			if client == "" {
				client, open = conn.addr(), " open from "+conn.addr()+"\n"
			}
			conn.hear("hello " + client + "\r\n")
			_ = conn.CloseWrite()
			want := []string{open, " from " + client + ": one\n", " from " + client + " [eof]: half\n", " close from " + client + ": eof, 2 records, 8 bytes\n"}
			if strings.HasPrefix(c.name, "a header") {
				want = []string{" from " + client + ": " + strings.TrimSpace(proxyLine) + "\n", " close from " + client + ": eof, 3 records, 49 bytes\n"}
			}
			got := d.records(want...)
			if n := strings.Count(got, "PROXY"); n != strings.Count(strings.Join(want, ""), "PROXY") {
				t.Errorf("records: got %q, want nothing of the header in them", got)
			}
			if l := d.log.await(t, "session closed"); c.client != "" && !holdsAll(l, []string{" remote=" + client + " ", " proxy=" + conn.addr()}) {
				t.Errorf("log: got %s, want both addresses", l)
			}
		})
	}
}

// TestWhatIsNoHeaderIsNoData: it is closed with a reason.
func TestWhatIsNoHeaderIsNoData(t *testing.T) {
	for _, c := range []struct{ name, says, err string }{
		{"something else", "GET / HTTP/1.0\r\n\r\n", "there is none, but other bytes"},
		{"a malformed one", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\nhello\n", "it is malformed"},
		{"an endless one", "PROXY UNKNOWN " + strings.Repeat("x", 5000), "it is too large: want 107 bytes at most in version 1"},
		{"one that is too large", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", "it is too large: 65551 bytes, want 16384 at most"},
		{"one for a Unix socket", "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("x", 216), "it is for a Unix socket, want one for TCP"},
		{"one for UDP", "\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c" + strings.Repeat("x", 12), "it is for UDP, want one for TCP"},
		{"half of one", proxyLine[:20], "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, behindProxy).open()
			conn := d.client()
			_, _ = conn.Write([]byte(c.says)) // it may be broken off
			_ = conn.CloseWrite()
			got := d.records(" open from "+conn.addr()+"\n", " close from "+conn.addr()+": proxy, 0 records, 0 bytes\n")
			if strings.Count(got, "\n") != 2 {
				t.Errorf("records: got %q, want its opening and closing alone", got)
			}
			if l := d.log.await(t, "session closed"); !holdsAll(l, []string{" reason=proxy ", `err="read PROXY header: ` + c.err}) {
				t.Errorf("log: got %s, want the reason and %s", l, c.err)
			}
			d.awaitClients(0)
		})
	}
}

func TestOnlyProxiesComeInWhereTheyMust(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) {
		behindProxy(cfg)
		cfg.Listeners[0].Limits.Refusal = config.Text("no\n")
	}).open()
	d.from("127.0.0.2").refused("no\n")
	eventually(t, func() bool { return d.srv.refusals.count() == 1 }, func() { t.Error("refused: got none, want one") })
	d.srv.refusals.tell(d.srv.log, 0)
	d.log.await(t, " proxy=1 ")
}

// TestLimitsAreAboutTheProxysClient, not about the proxy.
func TestLimitsAreAboutTheProxysClient(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) {
		behindProxy(cfg)
		cfg.Limits.ClientsPerSource = 1
		cfg.Listeners[0].Limits.Refusal = config.Text("no\n")
		cfg.Listeners[0].Limits.Deny = parsePrefixes("192.0.2.9/32")
	}).open()
	through := func(client string) *client {
		c := d.client()
		c.say("PROXY TCP4 " + client + " 192.0.2.2 1234 443\r\nhello\n")
		return c
	}
	first := through("192.0.2.1")
	first.hear("hello 192.0.2.1:1234\r\n")
	through("192.0.2.1").refused("no\n")
	through("192.0.2.9").refused("no\n")
	through("192.0.2.3").hear("hello 192.0.2.3:1234\r\n")
	d.awaitClients(2)
	_ = first.Close()
	d.awaitClients(1)
	eventually(t, func() bool { return d.places() == 1 }, func() { t.Errorf("places taken: got %d, want one", d.places()) })
	through("192.0.2.1").hear("hello 192.0.2.1:1234\r\n")
	d.srv.refusals.tell(d.srv.log, 0)
	d.log.await(t, " denied=1 source=1 ", "last=192.0.2.9:1234")
	if strings.Contains(d.out.String(), "192.0.2.9") {
		t.Errorf("records: got %s, want nothing of who was refused", d.out)
	}
}

// TestAProxyThatIsSilentHoldsUpNobody, nor the daemon's end.
func TestAProxyThatIsSilentHoldsUpNobody(t *testing.T) {
	d := newDesk(t, behindProxy).open()
	silent := d.client()
	silent.say(proxyLine[:10])
	d.awaitClients(1)
	conn := d.client()
	conn.say(proxyLine)
	conn.hear("hello 192.0.2.1:1234\r\n")
	began := time.Now()
	_ = d.srv.Shutdown(over())
	d.records(" close from "+silent.addr()+": drain, 0 records, 0 bytes\n", " close from 192.0.2.1:1234: drain, 0 records, 0 bytes\n")
	if took := time.Since(began); took > proxyTimeout {
		t.Errorf("it took %v, want less than the proxy has time", took)
	}
}

// TestAProxysClientOutlivesTheProcess: the next one knows whom the header named, and that it is no data.
func TestAProxysClientOutlivesTheProcess(t *testing.T) {
	d := newDesk(t, behindProxy)
	for _, c := range []struct {
		name, says string
		taken      int // of it, by the process before
		remote     string
		offset     int64
		heralded   bool
	}{
		{"the header is taken", proxyLine + "hello\n", len(proxyLine), "192.0.2.1:1234", 0, true},
		{"and a message", proxyLine + "hello\n", len(proxyLine + "hello\n"), "192.0.2.1:1234", 6, true},
		{"the header is noted and not taken", proxyLine + "hello\n", 0, "", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := state.New(1)
			if err != nil {
				t.Fatal(err)
			}
			conn := d.client()
			conn.say(c.says)
			before := d.accepted()
			h := before.model.(*herald)
			eventually(t, func() bool { return unread(uintptr(h.fd)) == len(c.says) }, func() { t.Error("the bytes do not come") })
			cookie, err := socketCookie(h.fd)
			if err != nil {
				t.Fatal(err)
			}
			f.Take(cookie).SetClient(netip.MustParseAddrPort("192.0.2.1:1234"), len(proxyLine))
			if err := discard(uintptr(h.fd), c.taken); err != nil {
				t.Fatal(err)
			}
			dup, err := unix.Dup(h.fd)
			if err != nil {
				t.Fatal(err)
			}
			again, err := unix.FcntlInt(uintptr(f.FD()), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			left, err := state.Open(again)
			if err != nil {
				t.Fatal(err)
			}
			d.srv.survival = &survival{state: left}
			s, err := d.srv.resume(d.lns, dup, cookie)
			if err != nil {
				t.Fatal(err)
			}
			defer s.model.close()
			if _, waits := s.model.(*herald); waits == c.heralded {
				t.Errorf("waits for a header: got %v", waits)
			}
			if c.heralded && (s.source.Remote != c.remote || s.source.Proxy != conn.addr() || s.offset != c.offset) {
				t.Errorf("got %q via %q at %d, want %q via %q at %d", s.source.Remote, s.source.Proxy, s.offset, c.remote, conn.addr(), c.offset)
			}
		})
	}
}

// TestAHeaderIsNotedForTheNextProcess, as it will not find it in the socket.
func TestAHeaderIsNotedForTheNextProcess(t *testing.T) {
	f, err := state.New(1)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, behindProxy)
	conn := d.client()
	conn.say(proxyLine)
	s := d.accepted()
	s.slot = f.Take(1)
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = s.model.serve() }()
	conn.hear("hello 192.0.2.1:1234\r\n")
	if client, size := s.slot.Client(); client.String() != "192.0.2.1:1234" || size != len(proxyLine) {
		t.Errorf("got %v and %d bytes, want the client and %d", client, size, len(proxyLine))
	}
	_ = conn.CloseWrite()
	<-ended
}
