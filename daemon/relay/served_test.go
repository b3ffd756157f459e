package relay_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/servertest"
)

func TestBothWays(t *testing.T) {
	for name, model := range map[string]string{"goroutine": "goroutine", "thread": "thread"} {
		t.Run(name, func(t *testing.T) {
			ln, to := listen(t, "tcp")
			f := proxy(t, []string{to}, func(l *config.Listener) { l.Model = model })
			c := f.Client()
			up := accept(t, ln)
			c.Say("question")
			servertest.Hear(t, up, "question")
			servertest.Say(t, up, "answer")
			c.Hear("answer")
			_ = c.CloseWrite()
			hearEnd(t, up, "")
			servertest.Say(t, up, ", and more")
			_ = up.Close()
			if got := c.HearEnd(); got != ", and more" {
				t.Errorf("got %q", got)
			}
			f.AwaitRecords("open from "+c.Addr(), ": eof, 0 records, 8 bytes")
			f.Log.Await(t, "session closed", "upstream="+to, "answered=16", "reason=eof")
		})
	}
}

// TestTheUpstreamEndsFirst, and goes on reading.
func TestTheUpstreamEndsFirst(t *testing.T) {
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, nil)
	c := f.Client()
	up := accept(t, ln)
	servertest.Say(t, up, "bye")
	_ = up.CloseWrite()
	if got := c.HearEnd(); got != "bye" {
		t.Errorf("got %q", got)
	}
	c.Say("still here")
	_ = c.CloseWrite()
	hearEnd(t, up, "still here")
	f.AwaitRecords(": eof, 0 records, 10 bytes")
}

func TestAResetIsAReset(t *testing.T) {
	t.Run("of the client", func(t *testing.T) {
		ln, to := listen(t, "tcp")
		f := proxy(t, []string{to}, nil)
		c := f.Client()
		up := accept(t, ln)
		c.Say("before")
		servertest.Hear(t, up, "before")
		c.Reset()
		if n, err := io.ReadAll(up); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("got %q, %v, want a reset", n, err)
		}
		f.AwaitRecords(": reset, 0 records, 6 bytes")
	})
	t.Run("of the upstream", func(t *testing.T) {
		ln, to := listen(t, "tcp")
		f := proxy(t, []string{to}, nil)
		c := f.Client()
		up := accept(t, ln)
		c.Say("before")
		servertest.Hear(t, up, "before")
		servertest.Say(t, up, "last words")
		c.Hear("last words")
		_ = up.SetLinger(0)
		_ = up.Close()
		if n, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("got %q, %v, want a reset", n, err)
		}
		f.AwaitRecords(": upstream-reset, 0 records, 6 bytes")
		f.Log.Await(t, "level=WARN msg=\"session closed\"", "upstream="+to, "connection reset by peer")
	})
}

// TestAnAnswerToWhatWasNotRead: the upstream has answered and closed before it has read all, so
// that its kernel breaks the connection off. The client gets the answer.
func TestAnAnswerToWhatWasNotRead(t *testing.T) {
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, nil)
	c := f.Client()
	up := accept(t, ln)
	go func() { _, _ = io.WriteString(c, strings.Repeat("x", 8<<20)) }() // it fails in the end
	servertest.Hear(t, up, "x")
	servertest.Say(t, up, "too large")
	_ = up.Close()
	c.Hear("too large")
	f.AwaitRecords(": upstream-reset, ")
}

// TestNobodyIsThere: the client is closed, and the record says why.
func TestNobodyIsThere(t *testing.T) {
	refusing, to := listen(t, "tcp")
	_ = refusing.Close()
	other, otherTo := listen(t, "unix")
	_ = other.Close()
	for _, c := range []struct {
		name   string
		to     []string
		change func(*config.Listener)
		reason string
		log    []string
	}{
		{"refused", []string{to}, nil, "upstream-refused", []string{to, "connection refused"}},
		{"no socket", []string{otherTo}, nil, "upstream-refused", []string{otherTo, "no such file"}},
		{"several", []string{otherTo, to}, nil, "upstream-refused", []string{otherTo + ": ", "; " + to}},
		{"no such name", []string{"no-such-name.invalid:80"}, nil, "upstream-name", []string{"no-such-name.invalid"}},
		{"in time", []string{crowded(t)}, func(l *config.Listener) { l.Proxy.ConnectTimeout = 50 * time.Millisecond }, "upstream-timeout, ", []string{"no answer in time"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := proxy(t, c.to, c.change)
			client := f.Client()
			client.Say("anybody?")
			if got := client.HearEnd(); got != "" {
				t.Errorf("got %q", got)
			}
			f.AwaitRecords(": " + c.reason)
			f.Log.Await(t, append(c.log, "level=WARN", "upstream=")...)
			f.AwaitClients(0)
		})
	}
}

// TestTheNextIsTried where the first is not there.
func TestTheNextIsTried(t *testing.T) {
	gone, first := listen(t, "tcp")
	_ = gone.Close()
	ln, second := listen(t, "unix")
	f := proxy(t, []string{first, second}, nil)
	c := f.Client()
	up, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Say("hello")
	servertest.Hear(t, up, "hello")
	_ = up.Close()
	if got := c.HearEnd(); got != "" {
		t.Errorf("got %q", got)
	}
}

// TestFlapping: each client finds what there is when it comes.
func TestFlapping(t *testing.T) {
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, nil)
	for range 5 {
		c := f.Client()
		up := accept(t, ln)
		c.Say("a")
		servertest.Hear(t, up, "a")
		_, _ = up.Close(), ln.Close()
		c.HearEnd()
		if got := f.Client().HearEnd(); got != "" {
			t.Errorf("got %q", got)
		}
		var err error
		if ln, err = net.Listen("tcp", to); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Listener)
		reason string
	}{
		{"idle", func(l *config.Listener) { l.IdleTimeout = 50 * time.Millisecond }, "idle"},
		{"session", func(l *config.Listener) { l.Limits.MaxSession = 50 * time.Millisecond }, "age"},
		{"bytes", func(l *config.Listener) { l.Limits.MaxSessionBytes = 4 }, "volume"},
	} {
		for _, recorded := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				ln, to := listen(t, "tcp")
				f := proxy(t, []string{to}, func(l *config.Listener) {
					c.change(l)
					l.Record = recorded
				})
				client := f.Client()
				up := accept(t, ln)
				client.Say("1234")
				client.Say("5678")
				got, err := io.ReadAll(up)
				if err != nil || !strings.HasPrefix("12345678", string(got)) || c.reason == "volume" && string(got) != "1234" {
					t.Errorf("got %q, %v", got, err)
				}
				client.HearEnd()
				f.AwaitRecords(": " + c.reason)
			})
		}
	}
}

// TestAKill ends a session that is connected, which shows with what, and one that is not yet.
func TestAKill(t *testing.T) {
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, nil)
	c := f.Client()
	up := accept(t, ln)
	c.Say("here")
	servertest.Hear(t, up, "here")
	var all []api.Session
	servertest.Eventually(t, func() bool { // they are counted once they are handed on
		all = f.Server.Sessions(api.Filter{}).Sessions
		return len(all) == 1 && all[0].Upstream == to && all[0].Bytes == 4 && all[0].State == "client"
	}, func() { t.Errorf("got %+v, want one session with %s", all, to) })
	f.Server.Kill(api.Filter{})
	hearEnd(t, up, "")
	c.HearEnd()
	f.AwaitRecords(": killed, 0 records, 4 bytes")

	f = proxy(t, []string{crowded(t)}, nil)
	c = f.Client()
	servertest.Eventually(t, func() bool {
		all := f.Server.Sessions(api.Filter{}).Sessions
		return len(all) == 1 && all[0].State == "upstream"
	}, func() { t.Error("the session does not wait for its upstream") })
	f.Server.Kill(api.Filter{})
	c.HearEnd()
	f.AwaitRecords(": killed, ")
}

func TestAShutdownEndsBothConnections(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		ln, to := listen(t, "tcp")
		f := proxy(t, []string{to}, func(l *config.Listener) { l.Record = recorded })
		c := f.Client()
		up := accept(t, ln)
		c.Say("here\n")
		servertest.Hear(t, up, "here\n")
		f.Close()
		hearEnd(t, up, "")
		c.HearEnd()
		f.AwaitRecords(": drain, ")
	}
}

// TestADrainLetsFinish what is under way.
func TestADrainLetsFinish(t *testing.T) {
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, nil)
	c := f.Client()
	up := accept(t, ln)
	ended := f.Shutdown(t.Context())
	c.Say("question")
	_ = c.CloseWrite()
	hearEnd(t, up, "question")
	servertest.Say(t, up, "answer")
	_ = up.Close()
	if got := c.HearEnd(); got != "answer" {
		t.Errorf("got %q", got)
	}
	if err := servertest.Result(t, ended); err != nil {
		t.Error(err)
	}
}

// TestWhatIsRecordedIsRecordedFirst, by the listener's framing.
func TestWhatIsRecordedIsRecordedFirst(t *testing.T) {
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, func(l *config.Listener) { l.Record = true })
	resume := f.Out.Hang()
	c := f.Client()
	c.Say("first\n")
	f.AwaitClients(1)
	resume()
	up := accept(t, ln)
	servertest.Hear(t, up, "first\n")
	f.AwaitRecords(c.Addr() + ": first\n")
	servertest.Say(t, up, "answer")
	c.Hear("answer")
	c.Say("second\nthe rest")
	servertest.Hear(t, up, "second\n")
	_ = c.CloseWrite()
	hearEnd(t, up, "the rest")
	_ = up.Close()
	c.HearEnd()
	f.AwaitRecords(c.Addr()+": second\n", "the rest", ": eof, 3 records, 21 bytes")
}

// TestHeaders name the client.
func TestHeaders(t *testing.T) {
	for version, want := range map[string]string{
		"v1": "PROXY TCP4 127.0.0.1 127.0.0.1 ",
		"v2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01",
	} {
		t.Run(version, func(t *testing.T) {
			ln, to := listen(t, "tcp")
			f := proxy(t, []string{to}, func(l *config.Listener) { l.Proxy.Header = version })
			c := f.Client()
			up := accept(t, ln)
			servertest.Hear(t, up, want)
			c.Say("x")
			_ = c.CloseWrite()
			rest, err := io.ReadAll(up)
			if err != nil || !strings.HasSuffix(string(rest), "x") {
				t.Errorf("got %q, %v", rest, err)
			}
		})
	}
}

// TestItself: a proxy that a name leads back to itself ends.
func TestItself(t *testing.T) {
	f := servertest.New(t, func(c *config.Config) {
		l := &c.Listeners[0]
		l.Service, l.Record, l.Model, l.Banner = config.ServiceProxy, false, "goroutine", config.Bytes{}
		ln, to := listen(t, "tcp")
		_ = ln.Close()
		l.Address, l.Proxy = []string{to}, config.Proxy{To: []string{to}, ConnectTimeout: time.Minute}
	}).Open()
	if got := f.Client().HearEnd(); got != "" {
		t.Errorf("got %q", got)
	}
	f.AwaitRecords(": upstream-loop, ")
}

func TestNothingIsLeft(t *testing.T) {
	ln, to := listen(t, "tcp")
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c) // it is a client's to end
				_ = c.Close()
			}()
		}
	}()
	f := proxy(t, []string{to}, nil)
	big := strings.Repeat("0123456789", 20_000)
	f.LeavesNothing(30, func() *servertest.Client {
		c := f.Client()
		go c.Say(big)
		c.Hear(big)
		return c
	})
}

// TestAResetIsNoticedWhileNobodyReads: the upstream takes nothing, so the client is not read.
func TestAResetIsNoticedWhileNobodyReads(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		ln, to := listen(t, "tcp")
		f := proxy(t, []string{to}, func(l *config.Listener) { l.Record, l.Framing = recorded, "chunk" })
		c := f.Client()
		up := accept(t, ln)
		_ = up.SetReadBuffer(4 << 10)
		_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if n, err := c.Write(make([]byte, 64<<20)); err == nil {
			t.Fatalf("all of %d bytes were taken", n)
		}
		c.Reset()
		f.AwaitClients(0)
		f.AwaitRecords(": reset, ")
		if _, err := io.Copy(io.Discard, up); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	}
}

// TestAResetWhileItIsRecorded: what came before is recorded and handed on, and then the reset is.
func TestAResetWhileItIsRecorded(t *testing.T) {
	ln, to := listen(t, "tcp")
	f := proxy(t, []string{to}, func(l *config.Listener) { l.Record = true })
	c := f.Client()
	up := accept(t, ln)
	_ = up.CloseWrite()
	c.HearEnd()
	begun := f.Out.Begun()
	resume := f.Out.Hang()
	c.Say("first\n")
	servertest.Eventually(t, func() bool { return f.Out.Begun() > begun }, func() { t.Error("nothing is recorded") })
	c.Reset()
	resume()
	if got, err := io.ReadAll(up); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %q, %v, want a reset", got, err)
	}
	f.AwaitRecords(c.Addr()+": first\n", ": reset, ")
}

// TestAResetIsNoticedAfterTheEnd: a client that has ended its stream is read no more, and the
// upstream, which says nothing, would never learn that it has gone.
func TestAResetIsNoticedAfterTheEnd(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		ln, to := listen(t, "tcp")
		f := proxy(t, []string{to}, func(l *config.Listener) { l.Record = recorded })
		c := f.Client()
		up := accept(t, ln)
		c.Say("question\n")
		c.CloseWrite()
		hearEnd(t, up, "question\n")
		c.Reset()
		f.AwaitClients(0)
		f.AwaitRecords(": reset, ")
	}
}

// TestAResetIsNoticedOfOneThatIsNotReadFor: a unix socket may take no more, and go on sending.
func TestAResetIsNoticedOfOneThatIsNotReadFor(t *testing.T) {
	ln, to := listen(t, "unix")
	f := proxy(t, []string{to}, nil)
	c := f.Client()
	up, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	if err := up.(*net.UnixConn).CloseRead(); err != nil {
		t.Fatal(err)
	}
	c.Say("question\n")
	servertest.Say(t, up, "answer")
	c.Hear("answer")
	c.Reset()
	f.AwaitClients(0)
	f.AwaitRecords(": reset, ")
}
