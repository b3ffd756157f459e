package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/cmd/internal/progress"
	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/session"
	"tcpmux/internal/await"
)

// testServer is a server with known behaviour that counts what it receives.
type testServer struct {
	address              string
	visits, lines, bytes atomic.Int64
}

// open lets serve serve every connection until the test ends.
func open(t *testing.T, serve func(d *testServer, conn *net.TCPConn)) *testServer {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &testServer{address: ln.Addr().String()}
	over := make(chan struct{})
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		close(over)
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			d.visits.Add(1)
			serving.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })()
				serve(d, conn.(*net.TCPConn))
			})
		}
	})
	return d
}

func greetAndCount(d *testServer, conn *net.TCPConn) {
	_, _ = io.WriteString(conn, "Welcome connect!\n")
	count(d, conn)
}

func count(d *testServer, conn *net.TCPConn) {
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadBytes('\n')
		d.bytes.Add(int64(len(line)))
		if err != nil {
			return
		}
		d.lines.Add(1)
	}
}

// measured checks o and runs it.
func measured(t *testing.T, ctx context.Context, o Options) Result {
	t.Helper()
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	r, err := Run(ctx, o, &progress.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWorkloadsCountExactly(t *testing.T) {
	for _, c := range []struct {
		o                    Options
		visits, lines, bytes int64 // that the server must see
	}{
		{Options{Workload: "visits", Clients: 7, Count: 100}, 100, 0, 0},
		{Options{Workload: "visits", Clients: 7, Count: 3}, 3, 0, 0},
		{Options{Workload: "idle", Clients: 300, Duration: 20 * time.Millisecond}, 300, 0, 0},
		{Options{Workload: "lines", Clients: 5, Count: 30, Size: 20}, 5, 150, 3000},
		{Options{Workload: "volume", Clients: 3, Count: 1000, Size: 300}, 3, 3000, 900_000},
		{Options{Workload: "volume", Clients: 1, Count: 3, Size: MaxSize}, 1, 3, 3 * MaxSize},
		{Options{Workload: "trickle", Clients: 40, Count: 4, Size: 2}, 40, 160, 320},
	} {
		for _, greeting := range []bool{true, false} {
			name := c.o.Workload + map[bool]string{true: ", greeted", false: ", not greeted"}[greeting]
			t.Run(name, func(t *testing.T) {
				serve := greetAndCount
				if !greeting {
					serve = count
				}
				d := open(t, serve)
				o := c.o
				o.Address, o.Greeting = d.address, greeting
				r := measured(t, t.Context(), o)
				if r.Failed() > 0 {
					t.Errorf("errors: got %v, want none", r.Errors)
				}
				done := map[string]int64{"visits": c.visits, "clients": c.visits, "lines": c.lines}[r.Unit]
				if r.Done != done || r.Bytes != c.bytes {
					t.Errorf("told: got %d %s, %d bytes, want %d, %d", r.Done, r.Unit, r.Bytes, done, c.bytes)
				}
				if r.Rate <= 0 || r.Seconds <= 0 || r.Latency.Min <= 0 || r.Latency.P50 > r.Latency.P99 || r.Latency.P99 > r.Latency.Max {
					t.Errorf("got rate %v, %v s, latency %+v, want figures in order", r.Rate, r.Seconds, r.Latency)
				}
				// The server may count a visit after the client has ended it. It
				// has counted all lines, because the client waits until the server
				// closes.
				if got := d.lines.Load(); got != c.lines || d.bytes.Load() != c.bytes {
					t.Errorf("the server read %d lines of %d bytes, want %d of %d", got, d.bytes.Load(), c.lines, c.bytes)
				}
				await.Until(t, func() bool { return d.visits.Load() == c.visits }, func() {
					t.Errorf("the server counted %d visits, want %d", d.visits.Load(), c.visits)
				})
			})
		}
	}
}

func TestLatencyIsOfWhatTheWorkloadSays(t *testing.T) {
	d := open(t, greetAndCount)
	for _, name := range WorkloadNames() {
		r := measured(t, t.Context(), Options{Workload: name, Address: d.address, Greeting: true, Clients: 2, Count: 3, Duration: 50 * time.Millisecond})
		want := map[string]int64{"visits": 3, "idle": 2, "lines": 6, "volume": 2, "trickle": 6}[name]
		if r.Latency.Count != want {
			t.Errorf("%s: got %d latencies of %q, want %d", name, r.Latency.Count, r.Latency.Of, want)
		}
	}
}

func TestErrorsByKind(t *testing.T) {
	say := func(text string) func(*testServer, *net.TCPConn) {
		return func(_ *testServer, conn *net.TCPConn) { _, _ = io.WriteString(conn, text) }
	}
	reset := func(_ *testServer, conn *net.TCPConn) { _ = conn.SetLinger(0) }
	mute := func(_ *testServer, conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) }
	const clients, neverClosed = 4, "never closed after us"
	var crowd sync.WaitGroup // all of it, before the first is closed
	crowd.Add(clients)
	greetAndClose := func(_ *testServer, conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "hi\n")
		crowd.Done()
		crowd.Wait()
	}
	measuredAll := make(chan struct{})
	greetAndNeverClose := func(_ *testServer, conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "hi\n")
		_, _ = io.Copy(io.Discard, conn)
		_, _ = conn.Write(make([]byte, 1))
		<-measuredAll
	}
	for _, c := range []struct {
		name     string
		workload string
		serve    func(*testServer, *net.TCPConn) // nil: nobody listens
		expect   string
		kind     Kind
	}{
		{"nobody listens", "visits", nil, "", Refused},
		{"nobody listens for a crowd", "lines", nil, "", Refused},
		{"reset", "visits", reset, "", Reset},
		{"closed without a word", "visits", say(""), "", NoGreeting},
		{"closed without a word to a crowd", "idle", say(""), "", NoGreeting},
		{"half a greeting", "visits", say("Welc"), "Welcome", ShortGreeting},
		{"another greeting", "visits", say("Go away"), "Welcome", WrongGreeting},
		{"a shorter other greeting", "visits", say("No"), "Welcome", WrongGreeting},
		{"no greeting in time", "visits", mute, "", Timeout},
		{"closed while it is held", "idle", greetAndClose, "", ClosedEarly},
		{neverClosed, "lines", greetAndNeverClose, "", Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &testServer{address: nobody(t)}
			if c.serve != nil {
				d = open(t, c.serve)
			}
			o := Options{Workload: c.workload, Address: d.address, Greeting: true, Expect: c.expect, Clients: clients, Count: clients, Duration: 200 * time.Millisecond, Timeout: 5 * time.Second}
			if c.kind == Timeout {
				o.Timeout = 100 * time.Millisecond
			}
			r := measured(t, t.Context(), o)
			if c.name == neverClosed {
				close(measuredAll)
			}
			if len(r.Errors) != 1 || r.Errors[c.kind] != clients {
				t.Errorf("got %v, want %q %d times", r.Errors, c.kind, clients)
			}
		})
	}
}

// nobody returns an address where nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestServerThatClosesEarlyFailsEachClientOnce(t *testing.T) {
	d := open(t, func(_ *testServer, conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "hi\n")
		_, _ = io.ReadFull(conn, make([]byte, 100))
	})
	r := measured(t, t.Context(), Options{Workload: "volume", Address: d.address, Greeting: true, Clients: 6, Count: 100_000})
	if r.Failed() != 6 || r.Errors[Reset]+r.Errors[ClosedEarly] != 6 {
		t.Errorf("got %v, want 6 that were reset or closed early", r.Errors)
	}
}

func TestTimeIsAnEnd(t *testing.T) {
	d := open(t, greetAndCount)
	for _, name := range []string{"visits", "lines", "volume", "trickle"} {
		o := Options{Workload: name, Address: d.address, Greeting: true, Clients: 3, Count: MaxCount, Duration: 50 * time.Millisecond}
		if r := measured(t, t.Context(), o); r.Ended != EndedByDuration || r.Failed() > 0 || r.Done == 0 {
			t.Errorf("%s: got %d done, %v, ended by %s, want some, none, %s", name, r.Done, r.Errors, r.Ended, EndedByDuration)
		}
	}
}

func TestInterruptIsAnEnd(t *testing.T) {
	mute := open(t, func(_ *testServer, conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) })
	deaf := open(t, func(_ *testServer, conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "hi\n")
		<-t.Context().Done()
	})
	for _, c := range []struct {
		workload string
		d        *testServer
	}{{"visits", mute}, {"idle", mute}, {"idle", deaf}, {"lines", mute}, {"lines", deaf}, {"volume", deaf}, {"trickle", deaf}} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		o := Options{Workload: c.workload, Address: c.d.address, Greeting: true, Clients: 3, Count: MaxCount, Duration: MaxDuration, Timeout: MaxTimeout}
		if r := measured(t, ctx, o); r.Ended != EndedByInterrupt || r.Failed() > 0 {
			t.Errorf("%s: got %v, ended by %s, want no errors and %s", c.workload, r.Errors, r.Ended, EndedByInterrupt)
		}
	}
}

func TestRateIsKept(t *testing.T) {
	d := open(t, greetAndCount)
	for _, name := range []string{"visits", "lines", "trickle"} {
		o := Options{Workload: name, Address: d.address, Greeting: true, Clients: 1, Count: 51, Rate: 500}
		if r := measured(t, t.Context(), o); r.Done != 51 || r.Seconds < 0.1 {
			t.Errorf("%s: got %d in %v s, want 51 at 500 a second", name, r.Done, r.Seconds)
		}
	}
}

func TestOnlyThisMachine(t *testing.T) {
	for _, address := range []string{"192.0.2.1:9", "[2001:db8::1]:9", "[::ffff:192.0.2.1]:9", "0.0.0.0:9", "[::]:9", "169.254.0.1:9"} {
		o := Options{Workload: "visits", Address: address}
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o, nil); !errors.Is(err, ErrRemote) || !strings.Contains(err.Error(), "--allow-remote") {
			t.Errorf("%s: got %v, want %v", address, err, ErrRemote)
		}
		o.AllowRemote = true
		if got, err := target(t.Context(), o); err != nil || got == "" {
			t.Errorf("%s with --allow-remote: got %q (%v), want an address", address, got, err)
		}
	}
}

func TestThisMachine(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.1:9": "127.0.0.1:9", "127.3.2.1:9": "127.3.2.1:9", "[::1]:9": "[::1]:9", "[::ffff:127.0.0.1]:9": "127.0.0.1:9", "127.0.0.1:echo": "127.0.0.1:7", "unix:/run/x": "unix:/run/x"} {
		if got, err := target(t.Context(), Options{Address: address}); err != nil || got != want {
			t.Errorf("%s: got %q (%v), want %q", address, got, err, want)
		}
	}
}

func TestSourceAddressesAreSpread(t *testing.T) {
	sources := make(chan netip.Addr, 10)
	d := open(t, func(_ *testServer, conn *net.TCPConn) {
		sources <- conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	})
	dialer := newDialer(d.address, nil)
	for _, c := range []struct {
		dialed int64
		want   string
	}{{0, "127.0.0.2"}, {perSource - 1, "127.0.0.2"}, {perSource, "127.0.0.3"}, {perSource*sourcesLast + 5, "127.0.0.201"}, {perSource * (sourcesLast + 1), "127.0.0.2"}} {
		dialer.dialed.Store(c.dialed)
		conn, err := dialer.dial(t.Context(), time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if got := <-sources; got.String() != c.want {
			t.Errorf("connection %d: got %v, want %v", c.dialed, got, c.want)
		}
	}
}

const sourcesLast = sources - 1

func TestCheckTellsEverythingAtOnce(t *testing.T) {
	o := Options{Workload: "lines", Clients: MaxClients + 1, Count: -1, Duration: 2 * MaxDuration, Size: 1, Rate: -1, Timeout: -1, Expect: "x"}
	err := o.Check()
	for _, want := range []string{"--clients is 100001, want 1 to 100000", "--count is -1", "--duration is 2h0m0s, want 1ms to 1h0m0s", "--size is 1, want 2 to 1048576", "--rate is -1", "--timeout is -1ns", "--expect together"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if err := (&Options{Workload: "party"}).Check(); err == nil || !strings.Contains(err.Error(), "visits, idle, lines, volume, trickle") {
		t.Errorf("got %v, want the workloads there are", err)
	}
}

func TestDescriptorAdvice(t *testing.T) {
	for limit, want := range map[uint64]string{
		1024: `use --clients 960, or raise it as root with "ulimit -Hn 5064"`,
		30:   `raise it as root with "ulimit -Hn 5064"`,
	} {
		if got := advice(5064, limit); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBlockIsWholeLines(t *testing.T) {
	b := framings[0].block(5, 30)
	if len(b) != 150 || bytes.Count(b, []byte("\n")) != 30 || !bytes.HasPrefix(b, []byte("aaaa\nbbbb\n")) {
		t.Errorf("got %q, want 30 lines of 5 bytes", b)
	}
}

// TestBlocksAreWhatTheDaemonReads: with the settings that a comparison gives it, each message is
// one.
func TestBlocksAreWhatTheDaemonReads(t *testing.T) {
	for _, f := range framings {
		for _, size := range []int{least, 11, 12, 100, 101, 102, 103, 1000, 1004, 1005} {
			path := filepath.Join(t.TempDir(), "tcpmux.toml")
			if err := os.WriteFile(path, []byte(f.settings(size)), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(path)
			if err != nil {
				t.Fatalf("%s: %v", f.name, err)
			}
			b := f.block(size, 30)
			if len(b) != 30*size {
				t.Errorf("%s: got %d bytes, want 30 messages of %d", f.name, len(b), size)
			}
			// The network and the clock cut them.
			if f.name == "chunk" || f.name == "silence" {
				continue
			}
			framer, n := session.NewSettings(c.Listeners[0], 0).Framing.New(), 0
			for m := framer.Next(b); m.Len() == size && m.Flag == framing.Whole; m = framer.Next(b) {
				n, b = n+1, b[size:]
			}
			if n != 30 {
				t.Errorf("%s: got %d messages of %d bytes, want 30", f.name, n, size)
			}
		}
	}
	if _, err := findFraming("lines"); err == nil || !strings.Contains(err.Error(), "want one of line, nul") {
		t.Errorf("got %v, want the framings there are", err)
	}
}
