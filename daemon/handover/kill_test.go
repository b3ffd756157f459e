package handover_test

import (
	"strings"
	"sync"
	"testing"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/servertest"
)

// TestAKilledSessionDoesNotComeBack with the next daemon.
func TestAKilledSessionDoesNotComeBack(t *testing.T) {
	d, st, conn := halfway(t, nil)
	other := d.Greeted()
	if n := d.Server.Kill(api.Filter{ID: d.Server.Sessions(api.Filter{MinBytes: 1}).Sessions[0].ID}); n != 1 {
		t.Fatalf("killed: got %d, want 1", n)
	}
	conn.HearEnd()
	d.leave()
	next := st.next(nil)
	next.AwaitClients(1)
	other.Say("on\n")
	next.AwaitRecords(other.Addr() + ": on\n")
	if got := d.Out.String(); !strings.Contains(got, "[timeout]: half\n") || !strings.Contains(got, ": killed, 2 records, 8 bytes\n") {
		t.Errorf("records: got %q, want what has arrived, and the end", got)
	}
	if got := next.Out.String(); strings.Contains(got, conn.Addr()) {
		t.Errorf("next daemon: got %q, want nothing of %s", got, conn.Addr())
	}
}

// TestAKilledSessionIsEndedByTheNextDaemon if this one dies first: with what has arrived, also
// before its PROXY header has.
func TestAKilledSessionIsEndedByTheNextDaemon(t *testing.T) {
	t.Run("half a message", func(t *testing.T) {
		d, st, conn := halfway(t, nil)
		d.kernelHolds(len("half"))
		slot := d.session().Slot
		d.leave()
		slot.SetKilled()
		next := st.next(nil)
		next.AwaitRecords("[timeout]: half\n", "close from "+conn.Addr()+": killed, 2 records, 8 bytes\n")
		conn.HearEnd()
		next.AwaitClients(0)
	})
	t.Run("a PROXY header is to come", func(t *testing.T) {
		d, st := surviving(t, behindProxy)
		d.Open()
		conn := d.Client()
		conn.Say("PROXY ")
		slot := d.session().Slot
		d.leave()
		slot.SetKilled()
		next := st.next(behindProxy)
		next.AwaitRecords(`"reason":"killed","records":0,"bytes":0`)
		conn.HearEnd()
		next.AwaitClients(0)
	})
}

// TestKillRacesWithLeave: a client has been killed, or goes on, and never both.
func TestKillRacesWithLeave(t *testing.T) {
	d, st := surviving(t, nil)
	d.Open()
	const clients = 40
	var all []*servertest.Client
	for range clients {
		c := d.Greeted()
		c.Say("one\n")
		all = append(all, c)
	}
	servertest.Eventually(t, func() bool { return strings.Count(d.Out.String(), ": one\n") == clients }, func() { t.Error("not all is recorded") })
	var killing sync.WaitGroup
	killed := 0
	killing.Go(func() {
		for _, s := range d.Server.Sessions(api.Filter{}).Sessions {
			killed += d.Server.Kill(api.Filter{ID: s.ID})
		}
	})
	d.leave()
	killing.Wait()
	if n := strings.Count(d.Out.String(), ": killed, 1 records, 4 bytes\n"); n != killed {
		t.Errorf("recorded as killed: got %d, want %d", n, killed)
	}
	next := st.next(nil)
	next.AwaitClients(clients - killed)
	for _, c := range all {
		if !strings.Contains(d.Out.String(), "close from "+c.Addr()) {
			c.Say("on\n")
			next.AwaitRecords(c.Addr() + ": on\n")
		}
	}
}
