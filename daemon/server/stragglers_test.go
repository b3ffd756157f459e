package server_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// withProgram adds a listener that runs a program.
func withProgram(script string) func(*config.Config) {
	return func(c *config.Config) {
		ln := config.Default().Listeners[0]
		ln.Name, ln.Address, ln.Banner = "program", []string{"127.0.0.1:0"}, config.Bytes{}
		ln.Exec, ln.Record = []string{"/bin/sh", "-c", script}, false
		c.Listeners = append(c.Listeners, ln)
	}
}

// programClient is a client of a program that says "here" first.
func programClient(f *servertest.Fixture) *servertest.Client {
	f.T.Helper()
	c := servertest.Dial(f.T, f.Bindings[1].Listener.Addr.String(), nil)
	c.Hear("here\n")
	return c
}

// leaving has a fixture leave its clients, and returns once it waits for those that cannot go on.
func leaving(ctx context.Context, f *servertest.Fixture) (left chan error) {
	f.T.Helper()
	left = make(chan error, 1)
	go func() {
		f.Server.WaitForStragglers(ctx)
		left <- f.Server.Leave(ctx)
	}()
	f.Log.Await(f.T, "the others are served on")
	return left
}

// TestOthersAreServedOnUntilTheLastCanLeave, also clients that come meanwhile.
func TestOthersAreServedOnUntilTheLastCanLeave(t *testing.T) {
	f, k := keeping(t, withProgram("echo here; cat"))
	f.Open().OpenToo(1)
	other, program := f.Greeted(), programClient(f)
	left := leaving(t.Context(), f)
	other.Say("meanwhile\n")
	f.AwaitRecords(other.Addr() + ": meanwhile\n")
	late := f.Greeted()
	late.Say("late\nhalf")
	f.AwaitRecords(late.Addr() + ": late\n")
	program.Say("still")
	program.Hear("still")
	if n := f.Server.Finishing(); n != 1 {
		t.Errorf("finishing: got %d, want 1", n)
	}
	if conn, err := net.Dial("tcp", f.Bindings[1].Listener.Addr.String()); err == nil {
		_ = conn.Close()
		t.Error("a client of the program: got it let in, want it refused")
	}
	select {
	case err := <-left:
		t.Fatalf("left with %v, want it to wait for the program", err)
	default:
	}
	_ = program.CloseWrite()
	program.HearEnd()
	if err := servertest.Result(t, left); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	f.AwaitRecords("close from " + program.Addr() + ": exit 0, 0 records, 0 bytes\n")
	next := k.successor(nil)
	other.Say("afterwards\n")
	late.Say(" a line\n")
	next.AwaitRecords(other.Addr()+": afterwards\n", late.Addr()+": half a line\n")
	for _, c := range []*servertest.Client{other, late} {
		if strings.Contains(f.Out.String(), "close from "+c.Addr()) {
			t.Errorf("got the end of %s, want it to go on", c.Addr())
		}
	}
}

// TestSilenceCountsUntilTheLastCanLeave, as do all limits of clients that are served on.
func TestSilenceCountsUntilTheLastCanLeave(t *testing.T) {
	f, _ := keeping(t, func(c *config.Config) {
		withProgram("echo here; cat")(c)
		c.Listeners[0].IdleTimeout = 200 * time.Millisecond
	})
	f.Open().OpenToo(1)
	program := programClient(f)
	left := leaving(t.Context(), f)
	silent := f.Greeted()
	silent.HearEnd()
	f.AwaitRecords("close from " + silent.Addr() + ": idle, 0 records, 0 bytes\n")
	_ = program.CloseWrite()
	if err := servertest.Result(t, left); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

// TestWhoOutlastsTheTimeToFinishIsEnded, and the others go on with the next daemon.
func TestWhoOutlastsTheTimeToFinishIsEnded(t *testing.T) {
	for name, script := range map[string]string{
		"it obeys":         "echo here; exec sleep 1000",
		"it does not care": "trap '' TERM; echo here; while :; do sleep 1000; done",
	} {
		t.Run(name, func(t *testing.T) {
			f, k := keeping(t, withProgram(script), servertest.StopGrace(50*time.Millisecond))
			f.Open().OpenToo(1)
			other, program := f.Greeted(), programClient(f)
			ctx, cancel := context.WithCancel(t.Context())
			left := leaving(ctx, f)
			other.Say("meanwhile\n")
			f.AwaitRecords(other.Addr() + ": meanwhile\n")
			cancel()
			if err := servertest.Result(t, left); err == nil || !strings.Contains(err.Error(), "1 client did not finish in time") {
				t.Errorf("got %v, want it to count 1 client", err)
			}
			program.HearEnd()
			f.AwaitRecords("close from " + program.Addr() + ": drain, 0 records, 0 bytes\n")
			next := k.successor(nil)
			other.Say("afterwards\n")
			next.AwaitRecords(other.Addr() + ": afterwards\n")
		})
	}
}

// TestAKeptClientOfAProgramIsEnded: it was kept while its PROXY header was to come, and its
// listener runs a program by now, which no other process can go on with.
func TestAKeptClientOfAProgramIsEnded(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		f, k := keeping(t, nil)
		f.Open()
		client := f.Greeted()
		leave(t, f)
		next := servertest.New(t, func(c *config.Config) {
			ln := &c.Listeners[0]
			ln.Exec, ln.Record = []string{"/bin/sh", "-c", "echo here; exec sleep 1000"}, recorded
			ln.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			ln.Banner = config.Bytes{}
		})
		next.Server.SetKeeper(k)
		r := k.kept[0].resumed(t, next.Binding())
		r.Config.Staged, r.Config.Resume = false, nil
		if err := next.Server.Resume(r); err != nil {
			t.Fatal(err)
		}
		next.Open()
		client.Say("PROXY UNKNOWN\r\n")
		client.Hear("here\n")
		ctx, cancel := context.WithCancel(t.Context())
		left := leaving(ctx, next)
		cancel()
		if err := servertest.Result(t, left); err == nil || !strings.Contains(err.Error(), "1 client did not finish in time") {
			t.Errorf("recorded %v: got %v, want it to count 1 client", recorded, err)
		}
		next.AwaitRecords("close from " + client.Addr() + ": drain, 0 records, 0 bytes\n")
	}
}

// TestWhoHasNoRoomIsEndedInTime: the keeper has none for a client, which does not finish by itself.
func TestWhoHasNoRoomIsEndedInTime(t *testing.T) {
	f, k := keeping(t, nil)
	k.full = true
	client := f.Open().Greeted()
	client.Say("whole\nhalf")
	f.AwaitRecords(": whole\n")
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan struct{})
	go func() { defer close(waited); f.Server.WaitForStragglers(ctx) }()
	client.HearEnd() // it is told to finish
	cancel()
	<-waited
	if n := f.Server.Clients(); n != 0 {
		t.Errorf("clients after WaitForStragglers: got %d, want 0", n)
	}
	f.AwaitRecords(client.Addr()+" [timeout]: half\n", ": drain, 2 records, 10 bytes\n")
	if err := f.Server.Leave(servertest.Done()); err == nil || !strings.Contains(err.Error(), "1 client did not finish in time") {
		t.Errorf("got %v, want it to count 1 client", err)
	}
}

// TestASinkThatFailsHoldsNobodyBack who can go on with the next daemon, though a program waits to
// be recorded to its end.
func TestASinkThatFailsHoldsNobodyBack(t *testing.T) {
	t.Parallel() // it takes stragglerGrace
	f, k := keeping(t, withProgram("echo here; exec sleep 1000"), servertest.StopGrace(50*time.Millisecond))
	f.Open().OpenToo(1)
	other := f.Greeted()
	programClient(f)
	f.AwaitRecords("open from " + other.Addr())
	f.Out.Fail(servertest.ErrDisk)
	other.Say("in the kernel\n")
	servertest.Eventually(t, f.Sink.Failing, func() { t.Error("the sink does not fail") })
	left := leaving(servertest.Done(), f)
	servertest.Eventually(t, f.Server.Draining, func() { t.Error("WaitForStragglers does not end") })
	f.Sink.Close() // as Run does when it goes on failing
	if err := servertest.Result(t, left); err == nil || !strings.Contains(err.Error(), "1 client did not finish in time") {
		t.Errorf("got %v, want it to count 1 client", err)
	}
	if l := f.Log.Line("session closed", other.Addr()); l != "" {
		t.Errorf("log: got %q, want the client to go on", l)
	}
	f.Log.Await(t, "reason=sink")
	next := k.successor(nil)
	next.AwaitRecords(other.Addr() + ": in the kernel\n")
}
