package session_test

import (
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

const proxyLine = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"

// behindProxy has the clients come through a proxy on this machine.
func behindProxy(cfg *config.Config) {
	cfg.Listeners[0].ProxyProtocol = prefix("127.0.0.1/32")
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
			f := servertest.New(t, behindProxy).Open()
			conn := f.Client()
			for _, s := range c.says {
				conn.Say(s)
			}
			client, open := c.client, " open from "+c.client+" via "+conn.Addr()+"\n"
			if client == "" {
				client, open = conn.Addr(), " open from "+conn.Addr()+"\n"
			}
			conn.Hear("hello " + client + "\r\n")
			_ = conn.CloseWrite()
			want := []string{open, " from " + client + ": one\n", " from " + client + " [eof]: half\n", " close from " + client + ": eof, 2 records, 8 bytes\n"}
			if strings.HasPrefix(c.name, "a header") {
				want = []string{" from " + client + ": " + strings.TrimSpace(proxyLine) + "\n", " close from " + client + ": eof, 3 records, 49 bytes\n"}
			}
			got := f.AwaitRecords(want...)
			if n := strings.Count(got, "PROXY"); n != strings.Count(strings.Join(want, ""), "PROXY") {
				t.Errorf("records: got %q, want nothing of the header in them", got)
			}
			if l := f.Log.Await(t, "session closed"); c.client != "" && !servertest.HoldsAll(l, []string{" remote=" + client + " ", " proxy=" + conn.Addr()}) {
				t.Errorf("log: got %s, want both addresses", l)
			}
		})
	}
}

// TestWhatIsNoHeaderIsNotRecorded: the session is closed with a reason.
func TestWhatIsNoHeaderIsNotRecorded(t *testing.T) {
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
			f := servertest.New(t, behindProxy).Open()
			conn := f.Client()
			_, _ = conn.Write([]byte(c.says)) // it may be broken off
			_ = conn.CloseWrite()
			got := f.AwaitRecords(" open from "+conn.Addr()+"\n", " close from "+conn.Addr()+": proxy, 0 records, 0 bytes\n")
			if strings.Count(got, "\n") != 2 {
				t.Errorf("records: got %q, want its opening and closing alone", got)
			}
			if l := f.Log.Await(t, "session closed"); !servertest.HoldsAll(l, []string{" reason=proxy ", `err="read PROXY header: ` + c.err}) {
				t.Errorf("log: got %s, want the reason and %s", l, c.err)
			}
			f.AwaitClients(0)
		})
	}
}

// TestAProxyThatBreaksOffWithinItsHeader is recorded as one that has.
func TestAProxyThatBreaksOffWithinItsHeader(t *testing.T) {
	f := servertest.New(t, behindProxy).Open()
	c := f.Client()
	c.Say(proxyLine[:20])
	f.AwaitClients(1)
	c.Reset()
	f.AwaitRecords(" close from " + c.Addr() + ": reset, 0 records, 0 bytes\n")
}

func TestOnlyProxiesComeInWhereTheyMust(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) {
		behindProxy(cfg)
		cfg.Listeners[0].Limits.Refusal = config.Text("no\n")
	}).Open()
	f.From("127.0.0.2").Refused("no\n")
	servertest.Eventually(t, func() bool { return f.Server.Refused() == 1 }, func() { t.Error("refused: got none, want one") })
	f.Server.Report(0)
	f.Log.Await(t, " proxy=1 ")
}

// TestLimitsAreAboutTheProxysClient, not about the proxy.
func TestLimitsAreAboutTheProxysClient(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) {
		behindProxy(cfg)
		cfg.Limits.ClientsPerSource = 1
		cfg.Listeners[0].Limits.Refusal = config.Text("no\n")
		cfg.Listeners[0].Limits.Deny = prefix("192.0.2.9/32")
	}).Open()
	through := func(client string) *servertest.Client {
		c := f.Client()
		c.Say("PROXY TCP4 " + client + " 192.0.2.2 1234 443\r\nhello\n")
		return c
	}
	first := through("192.0.2.1")
	first.Hear("hello 192.0.2.1:1234\r\n")
	through("192.0.2.1").Refused("no\n")
	through("192.0.2.9").Refused("no\n")
	through("192.0.2.3").Hear("hello 192.0.2.3:1234\r\n")
	f.AwaitClients(2)
	f.Server.Report(0)
	f.Log.Await(t, " denied=1 source=1 ", "last=192.0.2.9:1234")
	_ = first.Close()
	f.AwaitClients(1)
	first = through("192.0.2.1")
	servertest.Eventually(t, func() bool { // its place is free soon after its session has ended
		greeting := make([]byte, 1)
		if _, err := first.Read(greeting); err == nil && greeting[0] == 'h' {
			return true
		}
		first = through("192.0.2.1")
		return false
	}, func() { t.Error("192.0.2.1 is not let in again") })
	if strings.Contains(f.Out.String(), "192.0.2.9") {
		t.Errorf("records: got %s, want nothing of who was refused", f.Out)
	}
}

// TestAProxyThatIsSilentHoldsUpNobody, and neither the end of the server.
func TestAProxyThatIsSilentHoldsUpNobody(t *testing.T) {
	f := servertest.New(t, behindProxy).Open()
	silent := f.Client()
	silent.Say(proxyLine[:10])
	f.AwaitClients(1)
	conn := f.Client()
	conn.Say(proxyLine)
	conn.Hear("hello 192.0.2.1:1234\r\n")
	_ = f.Server.Shutdown(servertest.Done())
	f.AwaitRecords(" close from "+silent.Addr()+": drain, 0 records, 0 bytes\n", " close from 192.0.2.1:1234: drain, 0 records, 0 bytes\n")
}
