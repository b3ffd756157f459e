package handover_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/systemd"
)

// proxying returns a change of a configuration whose listener is a proxy, and where the upstreams
// are accepted.
func proxying(t *testing.T, network string, record bool) (func(*config.Config), net.Listener) {
	t.Helper()
	address, prefix := "127.0.0.1:0", ""
	if network == "unix" {
		address, prefix = t.TempDir()+"/upstream", config.UnixScheme
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return func(c *config.Config) {
		l := &c.Listeners[0]
		l.Service, l.Record, l.Banner = config.ServiceProxy, record, config.Bytes{}
		l.Proxy = config.Proxy{To: []string{prefix + ln.Addr().String()}, ConnectTimeout: servertest.Patience}
		if l.Model == "process" {
			l.Model = "goroutine"
		}
	}, ln
}

// halfCloser is a connection of which one direction can be closed.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func acceptUpstream(t *testing.T, ln net.Listener) halfCloser {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(servertest.Patience))
	return c.(halfCloser)
}

// proxied returns a client and its upstream. Each has heard from the other: a daemon that leaves
// before would have the next one connect the client.
func proxied(t *testing.T, d *daemon, ln net.Listener) (*servertest.Client, halfCloser) {
	t.Helper()
	c := d.Client()
	up := acceptUpstream(t, ln)
	sayTo(t, up, "hello\n")
	c.Hear("hello\n")
	c.Say("hello\n")
	hearFrom(t, up, "hello\n")
	return c, up
}

func hearFrom(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %.80q and %v, want %.80q", got[:n], err, text)
	}
}

func sayTo(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// hearEndOf takes the rest of what is sent to a connection, which has to be text.
func hearEndOf(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || string(got) != text {
		t.Fatalf("got %.80q and %v, want %.80q and the end", got, err, text)
	}
}

// TestAProxyGoesOnWithTheNextDaemon, over several of them, each client with its own upstream, and
// what was counted goes on.
func TestAProxyGoesOnWithTheNextDaemon(t *testing.T) {
	for name, record := range map[string]bool{"off the record": false, "recorded": true} {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(name+", "+network, func(t *testing.T) {
				change, ln := proxying(t, network, record)
				d, st := surviving(t, change)
				d.Open()
				a := d.Client()
				upA := acceptUpstream(t, ln)
				b := d.Client()
				upB := acceptUpstream(t, ln)
				d.AwaitClients(2)
				for range 3 {
					a.Say("of a\n")
					b.Say("of bob\n")
					hearFrom(t, upA, "of a\n")
					hearFrom(t, upB, "of bob\n")
					sayTo(t, upA, "to a\n")
					sayTo(t, upB, "to bob\n")
					a.Hear("to a\n")
					b.Hear("to bob\n")
					d.leave()
					a.Say("meanwhile\n")
					sayTo(t, upB, "meanwhile\n")
					d = st.next(change)
					hearFrom(t, upA, "meanwhile\n")
					b.Hear("meanwhile\n")
				}
				_ = a.CloseWrite()
				hearEndOf(t, upA, "")
				_ = upA.Close()
				if got := a.HearEnd(); got != "" {
					t.Errorf("a: got %q at the end", got)
				}
				_ = upB.Close()
				if got := b.HearEnd(); got != "" {
					t.Errorf("b: got %q at the end", got)
				}
				_ = b.Close()
				recorded := map[bool]string{false: ": eof, 0 records, ", true: ": eof, 6 records, "}[record]
				d.AwaitRecords("close from " + a.Addr() + recorded + "45 bytes\n")
				d.AwaitRecords("close from " + b.Addr())
				d.Log.Await(t, "session closed", "answered=15", "reason=eof")
				d.Log.Await(t, "session closed", "answered=51", "reason=eof")
			})
		}
	}
}

// TestAHalfCloseOutlivesTheDaemon, in either direction, before the daemon leaves and after it.
func TestAHalfCloseOutlivesTheDaemon(t *testing.T) {
	for name, record := range map[string]bool{"off the record": false, "recorded": true} {
		t.Run("client, "+name, func(t *testing.T) {
			change, ln := proxying(t, "tcp", record)
			d, st := surviving(t, change)
			d.Open()
			c := d.Client()
			up := acceptUpstream(t, ln)
			c.Say("all\n")
			_ = c.CloseWrite()
			hearEndOf(t, up, "all\n")
			for range 2 {
				d.leave()
				d = st.next(change)
				sayTo(t, up, "more")
				c.Hear("more")
			}
			_ = up.Close()
			if got := c.HearEnd(); got != "" {
				t.Errorf("got %q at the end", got)
			}
			d.AwaitRecords(": eof, ")
			d.Log.Await(t, "session closed", "answered=8", "reason=eof")
		})
		t.Run("upstream, "+name, func(t *testing.T) {
			change, ln := proxying(t, "tcp", record)
			d, st := surviving(t, change)
			d.Open()
			c := d.Client()
			up := acceptUpstream(t, ln)
			sayTo(t, up, "all")
			_ = up.CloseWrite()
			if got := c.HearEnd(); got != "all" {
				t.Errorf("got %q", got)
			}
			for range 2 {
				d.leave()
				d = st.next(change)
				c.Say("more\n")
				hearFrom(t, up, "more\n")
			}
			_ = c.Close()
			hearEndOf(t, up, "")
			d.AwaitRecords(": eof, ")
			d.Log.Await(t, "session closed", "answered=3", "reason=eof")
		})
		t.Run("while nobody runs, "+name, func(t *testing.T) {
			change, ln := proxying(t, "tcp", record)
			d, st := surviving(t, change)
			d.Open()
			c, up := proxied(t, d, ln)
			d.leave()
			c.Say("last\n")
			_ = c.CloseWrite()
			sayTo(t, up, "words")
			_ = up.CloseWrite()
			d = st.next(change)
			hearEndOf(t, up, "last\n")
			if got := c.HearEnd(); got != "words" {
				t.Errorf("got %q", got)
			}
			d.AwaitRecords(": eof, ")
		})
	}
}

// TestAProxyUnderLoadGoesOn: nothing is lost and nothing comes twice, also of what was in a pipe
// when the daemon left, as a side is slow to read.
func TestAProxyUnderLoadGoesOn(t *testing.T) {
	const size = 4 << 20
	for name, record := range map[string]bool{"off the record": false, "recorded": true} {
		t.Run(name, func(t *testing.T) {
			toProxy, ln := proxying(t, "tcp", record)
			change := func(c *config.Config) {
				toProxy(c)
				c.Listeners[0].Framing, c.Listeners[0].MaxMessage = "chunk", 64<<10
			}
			d, st := surviving(t, change)
			d.Open()
			var all sync.WaitGroup
			for i := range 4 {
				c, up := proxied(t, d, ln)
				_ = c.SetDeadline(time.Now().Add(3 * servertest.Patience))
				_ = up.SetDeadline(time.Now().Add(3 * servertest.Patience))
				all.Go(func() { sendRandom(t, c, uint64(i), size) })
				all.Go(func() { sendRandom(t, up, uint64(100+i), size) })
				all.Go(func() { takeRandom(t, up, uint64(i), size, i%2 == 0) })
				all.Go(func() { takeRandom(t, c, uint64(100+i), size, i%2 == 1) })
			}
			done := make(chan struct{})
			go func() { all.Wait(); close(done) }()
			for range 12 {
				d.leave()
				d = st.next(change)
				time.Sleep(20 * time.Millisecond) // for some to be carried
			}
			<-done
			d.AwaitClients(0)
		})
	}
}

// sendRandom sends bytes that seed makes, and the end.
func sendRandom(t *testing.T, to halfCloser, seed uint64, size int64) {
	if _, err := io.CopyN(to, rand.NewChaCha8([32]byte{byte(seed)}), size); err != nil {
		t.Errorf("send %d: %v", seed, err)
	}
	_ = to.CloseWrite()
}

// takeRandom takes what sendRandom sends.
func takeRandom(t *testing.T, from io.Reader, seed uint64, size int64, slow bool) {
	got, want := sha256.New(), sha256.New()
	if slow {
		from = &slowReader{from: from}
	}
	n, err := io.Copy(got, from)
	_, _ = io.CopyN(want, rand.NewChaCha8([32]byte{byte(seed)}), size)
	if err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("take %d: got %d bytes and %v, want %d, all of them equal", seed, n, err, size)
	}
}

// slowReader pauses now and then.
type slowReader struct {
	from io.Reader
	took int
}

func (r *slowReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	if r.took += n; r.took > 1<<20 {
		r.took = 0
		time.Sleep(30 * time.Millisecond)
	}
	return n, err
}

// TestACrashEndsTheClientOfAProxy with a record, and its upstream; a client that was not connected
// with one yet is connected by the next daemon.
func TestACrashEndsTheClientOfAProxy(t *testing.T) {
	for _, c := range []struct {
		name string
		lose []string
	}{
		{"", nil}, {"and the pairs are lost", []string{systemd.PairsName}},
	} {
		t.Run("a crash "+c.name, func(t *testing.T) {
			change, ln := proxying(t, "tcp", false)
			d, st := surviving(t, change)
			d.Open()
			conn, up := proxied(t, d, ln)
			if err := d.handover.EnlistAll(); err != nil {
				t.Fatal(err)
			}
			st.lose(c.lose...)
			next := st.next(change) // the first one neither leaves nor is there
			next.AwaitRecords("close from " + conn.Addr() + ": crash, 0 records, ")
			if got := conn.HearEnd(); got != "" {
				t.Errorf("client: got %q", got)
			}
			hearEndOf(t, up, "")
			next.AwaitClients(0)
		})
	}
}

// TestAHalfOfAPairEnds: the mate was not left, or cannot be gone on with.
func TestAHalfOfAPairEnds(t *testing.T) {
	change, ln := proxying(t, "tcp", false)
	d, st := surviving(t, change)
	d.Open()
	conn, up := proxied(t, d, ln)
	d.leave()
	st.lose(systemd.PairsName)
	next := st.next(change)
	next.AwaitRecords("close from " + conn.Addr() + ": crash, ")
	conn.HearEnd()
	hearEndOf(t, up, "")
}

// TestWithoutStateAnUpstreamIsNoClient.
func TestWithoutStateAnUpstreamIsNoClient(t *testing.T) {
	change, ln := proxying(t, "tcp", false)
	d, st := surviving(t, change)
	d.Open()
	conn, up := proxied(t, d, ln)
	d.leave()
	st.lose(systemd.PairsName, systemd.StateName, systemd.JournalName)
	next := st.next(change)
	sayTo(t, up, "I am no client")
	hearEndOf(t, up, "")
	conn.HearEnd()
	next.AwaitClients(0)
	if out := next.Out.String(); strings.Contains(out, "client") || strings.Contains(out, "open") {
		t.Errorf("records: got %q, want none", out)
	}
}

// TestResetsPassAlthoughTheRingHoldsTheConnections.
func TestResetsPassAlthoughTheRingHoldsTheConnections(t *testing.T) {
	change, ln := proxying(t, "tcp", false)
	d, st := surviving(t, change)
	d.Open()
	conn, up := proxied(t, d, ln)
	d.leave()
	d = st.next(change)
	conn.Say("one")
	hearFrom(t, up, "one")
	_ = up.(*net.TCPConn).SetLinger(0)
	_ = up.Close()
	if _, err := io.ReadAll(conn); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("got %v, want a reset", err)
	}
	d.AwaitRecords(": upstream-reset, ")
}
