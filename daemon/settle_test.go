package daemon

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
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

// openBoth lets clients in at a desk of two listeners.
func (d *desk) openBoth() {
	d.open()
	go func() { _ = d.srv.Serve(d.lns[1]) }()
}

// atProgram is a client of a program that says "here" first.
func (d *desk) atProgram() *client {
	d.t.Helper()
	c := dial(d.t, d.lns[1].addr.String(), nil)
	c.hear("here\n")
	return c
}

// leaving has a desk leave its clients, and returns once it waits for those who cannot go on.
func (d *desk) leaving(ctx context.Context) (left chan error) {
	d.t.Helper()
	left = make(chan error, 1)
	go func() {
		d.srv.Settle(ctx)
		left <- d.srv.Leave(ctx)
	}()
	d.log.await(d.t, "the others are served on")
	return left
}

// TestOthersAreServedOnUntilTheLastCanLeave, and who comes meanwhile is, too.
func TestOthersAreServedOnUntilTheLastCanLeave(t *testing.T) {
	d, e := surviving(t, withProgram("echo here; cat"))
	d.openBoth()
	other, program := d.greeted(), d.atProgram()
	left := d.leaving(t.Context())
	other.say("meanwhile\n")
	d.records(other.addr() + ": meanwhile\n")
	late := d.greeted()
	late.say("late\nhalf")
	d.records(late.addr() + ": late\n")
	program.say("still")
	program.hear("still")
	if n := d.srv.Finishing(); n != 1 {
		t.Errorf("finishing: got %d, want 1", n)
	}
	if conn, err := net.Dial("tcp", d.lns[1].addr.String()); err == nil {
		_ = conn.Close()
		t.Error("a client of the program: got it let in, want it refused")
	}
	select {
	case err := <-left:
		t.Fatalf("left with %v, want it to wait for the program", err)
	default:
	}
	_ = program.CloseWrite()
	program.hearEnd()
	if err := result(t, left); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	d.records("close from " + program.addr() + ": exit 0, 0 records, 0 bytes\n")
	next := e.heir(nil)
	other.say("afterwards\n")
	late.say(" a line\n")
	next.records(other.addr()+": afterwards\n", late.addr()+": half a line\n")
	for _, who := range []*client{other, late} {
		if strings.Contains(d.out.String(), "close from "+who.addr()) {
			t.Errorf("got the end of %s, want it to go on", who.addr())
		}
	}
}

// TestSilenceCountsUntilTheLastCanLeave, as do all limits of those who are served on.
func TestSilenceCountsUntilTheLastCanLeave(t *testing.T) {
	d, _ := surviving(t, and(withProgram("echo here; cat"), idling(200*time.Millisecond)))
	d.openBoth()
	program := d.atProgram()
	left := d.leaving(t.Context())
	silent := d.greeted()
	silent.hearEnd()
	d.records("close from " + silent.addr() + ": idle, 0 records, 0 bytes\n")
	_ = program.CloseWrite()
	if err := result(t, left); err != nil {
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
			d, e := surviving(t, withProgram(script))
			d.srv.stopGrace = 50 * time.Millisecond
			d.openBoth()
			other, program := d.greeted(), d.atProgram()
			ctx, cancel := context.WithCancel(t.Context())
			left := d.leaving(ctx)
			other.say("meanwhile\n")
			d.records(other.addr() + ": meanwhile\n")
			cancel()
			if err := result(t, left); err == nil || !strings.Contains(err.Error(), "1 client did not finish in time") {
				t.Errorf("got %v, want it to count 1 client", err)
			}
			program.hearEnd()
			d.records("close from " + program.addr() + ": drain, 0 records, 0 bytes\n")
			next := e.heir(nil)
			other.say("afterwards\n")
			next.records(other.addr() + ": afterwards\n")
		})
	}
}

// TestASinkThatFailsHoldsNobodyBack who can go on with the next daemon, though a program waits to be recorded to its end.
func TestASinkThatFailsHoldsNobodyBack(t *testing.T) {
	t.Parallel() // it takes settleGrace and sinkGrace
	d, e := surviving(t, withProgram("echo here; exec sleep 1000"))
	d.srv.stopGrace = 50 * time.Millisecond
	d.openBoth()
	other := d.greeted()
	d.atProgram()
	d.records("open from " + other.addr())
	d.out.fail(errDisk)
	other.say("in the kernel\n")
	eventually(t, d.sink.Failing, func() { t.Error("the sink does not fail") })
	log := slog.New(slog.NewTextHandler(d.log, nil))
	(&daemon{cfg: config.Config{DrainTimeout: 10 * time.Millisecond}, log: &logger{Logger: log}, sink: d.sink, srv: d.srv, troubles: &troubles{log: log}}).end(true)
	if l := d.log.line("session closed", other.addr()); l != "" {
		t.Errorf("log: got %q, want the client to go on", l)
	}
	d.log.await(t, "reason=sink", `msg="left clients to the next process"`)
	next := e.heir(nil)
	next.records(other.addr() + ": in the kernel\n")
}
