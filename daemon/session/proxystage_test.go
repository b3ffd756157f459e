package session

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/proxy"
	"tcpmux/daemon/sockaddr"
)

const (
	header = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"
	// via is the records' name of who has come through the fixture's peer.
	via = "192.0.2.1:1234 via 192.0.2.7:4711"
)

// proxied runs a test with a fixture whose connection comes through a proxy.
func proxied(t *testing.T, test func(f *fixture)) {
	t.Helper()
	bubble(t, func(l *config.Listener) { l.Banner = config.Text("hello {client}\n") }, func(f *fixture) {
		f.config.Settings.Stages = []Stage{ProxyStage{}}
		test(f)
	})
}

// TestAHeaderIsTakenWhole, however it comes, and nothing behind it.
func TestAHeaderIsTakenWhole(t *testing.T) {
	large := "\r\n\r\n\x00\r\nQUIT\n\x21\x11" + "\x10\x00" + // with values of 4 KiB in all
		"\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb" + "\xe0\x0f\xf1" + strings.Repeat("\n", 4<<10-15)
	for _, head := range []string{header, large} {
		for _, sent := range [][]string{
			{head + "one\nhalf"}, {head, "one\nhalf"}, {head[:20], head[20:] + "one\nhalf"},
			{head[:len(head)-1], head[len(head)-1:], "one\nhalf"}, strings.SplitAfter(header, ""),
		} {
			proxied(t, func(f *fixture) {
				f.start()
				f.send(sent...)
				if len(sent) > 10 {
					f.send("one\nhalf")
				}
				f.received("hello 192.0.2.1:1234\n", false)
				f.unread(len("half"))
				if got := f.client.LowWater(); got != len("half")+1 {
					t.Errorf("low water: got %d, want %d", got, len("half")+1)
				}
				f.sendEnd()
				f.over(0)
				f.recorded("open from "+via, "from 192.0.2.1:1234: one", "from 192.0.2.1:1234 [eof]: half",
					"close from 192.0.2.1:1234: eof, 2 records, 8 bytes")
				if l := f.log.String(); !strings.Contains(l, " remote=192.0.2.1:1234 ") || !strings.Contains(l, " proxy=192.0.2.7:4711") {
					t.Errorf("log: got %q, want both addresses", l)
				}
			})
		}
	}
}

func TestWithoutAnotherClientTheProxyIsTheClient(t *testing.T) {
	proxied(t, func(f *fixture) {
		var admitted sockaddr.Peer
		f.env.Admit = func(_ *Session, client sockaddr.Peer) bool { admitted = client; return true }
		f.start()
		f.send("PROXY UNKNOWN\r\none\n")
		f.received("hello 192.0.2.7:4711\n", false)
		f.recorded("open", ": one")
		if admitted != peer {
			t.Errorf("admitted %v, want %v", admitted, peer)
		}
	})
}

// TestAHeaderHasItsTime, which no byte and no phase renews.
func TestAHeaderHasItsTime(t *testing.T) {
	for _, sent := range []string{"", header[:8]} {
		proxied(t, func(f *fixture) {
			f.start()
			for _, c := range sent {
				f.pass(time.Second)
				f.send(string(c))
				f.Refresh()
				f.Enter(Draining)
			}
			f.pass(proxyTimeout - time.Since(f.opened) - time.Nanosecond)
			f.served()
			f.pass(time.Nanosecond)
			f.over(proxyTimeout)
			f.recorded("open", "close: proxy, 0 records, 0 bytes")
			if l := f.log.String(); !strings.Contains(l, `err="read PROXY header: none has come whole within 10s"`) {
				t.Errorf("log: got %q, want why", l)
			}
		})
	}
}

// TestWhatIsNoHeaderIsNoData: the session is closed with a reason, and nothing of it is a record.
func TestWhatIsNoHeaderIsNotRecorded(t *testing.T) {
	for _, c := range []struct {
		name, sent  string
		end         error // nil: the end of the stream
		reason, err string
	}{
		{"nothing", "", nil, "eof", ""},
		{"nothing, broken off", "", unix.ECONNRESET, "reset", "recv: connection reset by peer"},
		{"half of one", header[:20], nil, "proxy", "unexpected EOF"},
		{"half of one, broken off", header[:20], unix.ECONNRESET, "reset", "recv: connection reset by peer"},
		{"something else", "GET / HTTP/1.0\r\n\r\n", nil, "proxy", "there is none, but other bytes"},
		{"a malformed one", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\nhello\n", nil, "proxy", "it is malformed"},
		{"an endless one", "PROXY UNKNOWN " + strings.Repeat("x", 5000), nil, "proxy", "it is too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxied(t, func(f *fixture) {
				f.client.Send(c.sent)
				if c.end == nil {
					f.client.SendEnd()
				} else {
					f.client.Break(c.end)
				}
				f.start()
				f.over(0)
				f.recorded("open", "close: "+c.reason+", 0 records, 0 bytes")
				f.received("", c.reason == "reset")
				if l := f.log.String(); c.err != "" && !strings.Contains(l, `err="read PROXY header: `+c.err) {
					t.Errorf("log: got %q, want %q", l, c.err)
				}
			})
		})
	}
}

// TestThePhaseEndsTheWaitForAHeader: at once, if the session is to end.
func TestThePhaseEndsTheWaitForAHeader(t *testing.T) {
	t.Run("over", func(t *testing.T) {
		proxied(t, func(f *fixture) {
			f.start()
			f.send(header[:20])
			f.pass(time.Second)
			f.enter(Over)
			f.over(time.Second)
			f.recorded("open", "close: drain, 0 records, 0 bytes")
		})
	})
	t.Run("leaving", func(t *testing.T) {
		proxied(t, func(f *fixture) {
			f.start()
			f.send(header[:20])
			f.enter(Leaving)
			f.over(0)
			f.recorded()
			f.unread(20)
		})
	})
	t.Run("draining", func(t *testing.T) {
		proxied(t, func(f *fixture) {
			f.start()
			f.send(header[:20])
			f.enter(Draining)
			f.send(header[20:] + "one\n")
			f.received("hello 192.0.2.1:1234\n", true)
			f.sendEnd()
			f.over(0)
		})
	})
}

// TestARefusedClientIsNoSession: neither records nor the log tell of it.
func TestARefusedClientIsNoSession(t *testing.T) {
	proxied(t, func(f *fixture) {
		f.env.Admit = func(s *Session, client sockaddr.Peer) bool { return client.String() != "192.0.2.1:1234" }
		f.start()
		f.send(header + "one\n")
		f.over(0)
		f.recorded()
		f.received("", false)
		if got := f.log.String(); got != "" {
			t.Errorf("log: got %q, want nothing", got)
		}
		if !f.client.Closed() {
			t.Error("the connection is open, want it closed")
		}
	})
}

// TestAHeaderIsNotedForTheNextProcess before it is removed, as it will not find it in the socket.
func TestAHeaderIsNotedForTheNextProcess(t *testing.T) {
	proxied(t, func(f *fixture) {
		f.config.Slot = newSlot(t)
		noted := false
		f.config.Conn = &removal{f.client, func() {
			client, size := f.config.Slot.Client()
			noted = client.String() == "192.0.2.1:1234" && size == len(header)
		}}
		f.start()
		f.send(header)
		if client, size := f.config.Slot.Client(); !noted {
			t.Errorf("at the removal: got %v and %d bytes, want the client and %d", client, size, len(header))
		}
	})
}

// removal tells when bytes are removed from a connection first.
type removal struct {
	conn.Conn
	before func()
}

func (r *removal) Discard(n int) error {
	if n > 0 && r.before != nil {
		r.before()
		r.before = nil
	}
	return r.Conn.Discard(n)
}

// TestAHeaderThatWasTakenIsNotAwaited: a session that goes on is done with its stages.
func TestAHeaderThatWasTakenIsNotAwaited(t *testing.T) {
	proxied(t, func(f *fixture) {
		f.config.Staged = true
		f.config.Resume = &Resume{Greeted: true, Opened: true}
		f.start()
		f.send("one\n")
		f.recorded(": one")
	})
}

// TestAHeaderThatShowsNoMoreIsSeldomLookedAt: behind an urgent byte nothing shows, although the
// connection is readable. A Thread looks again at once, and so the peek itself has to take its
// time.
func TestAHeaderThatShowsNoMoreIsSeldomLookedAt(t *testing.T) {
	proxied(t, func(f *fixture) {
		looks := &countedLooks{Conn: f.client, most: 100}
		f.config.Conn = looks
		f.start()
		f.send(header[:20])
		f.client.SendUrgent(header[20])
		f.send(header[21:])
		f.pass(proxyTimeout)
		f.over(proxyTimeout)
		if looks.n > 5 {
			t.Errorf("got %d looks, want 5 at most", looks.n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		peek := headerPeek{conn: f.client, buf: make([]byte, usualHeader)}
		f.client.Send(header[:20])
		f.client.SendUrgent(header[20])
		for i, want := range []time.Duration{0, headerPause, headerPause} {
			start := time.Now()
			if peek.try() {
				t.Fatalf("peek %d: got a header, want none", i)
			}
			if got := time.Since(start); got != want {
				t.Errorf("peek %d: took %v, want %v", i, got, want)
			}
		}
	})
}

// countedLooks is a connection that breaks when it is looked at too often.
type countedLooks struct {
	conn.Conn
	n, most int
}

func (c *countedLooks) Peek(buf []byte) (int, error) {
	if c.n++; c.n > c.most {
		return -1, unix.ECONNRESET
	}
	return c.Conn.Peek(buf)
}

// TestHeaderLooksAreFew: the usual header takes a small buffer, and a large one a single larger
// one.
func TestHeaderLooksAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		peek := headerPeek{conn: f.client, buf: make([]byte, usualHeader)}
		if f.client.Send(header + strings.Repeat("x", 2*usualHeader)); !peek.try() || len(peek.buf) != usualHeader {
			t.Errorf("a usual one: got a buffer of %d bytes, want %d", len(peek.buf), usualHeader)
		}
		f = newFixture(t, nil)
		peek = headerPeek{conn: f.client, buf: make([]byte, usualHeader)}
		f.client.Send("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x10\x00" + strings.Repeat("x", 2*usualHeader))
		if peek.try() || len(peek.buf) != proxy.MaxSize {
			t.Errorf("half of a large one: got a buffer of %d bytes, want %d", len(peek.buf), proxy.MaxSize)
		}
	})
}
