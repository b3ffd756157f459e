package handover_test

import (
	"io"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// TestWhoWasSilentBeforeIsSilentStill: silence counts from the last byte, also before this
// process.
func TestWhoWasSilentBeforeIsSilentStill(t *testing.T) {
	d, st := surviving(t, nil)
	d.Open()
	d.Greeted().Say("one\n")
	d.AwaitRecords(": one\n")
	time.Sleep(100 * time.Millisecond) // the client's silence, which the kernel measures
	d.leave()
	next := st.next(nil)
	if heard := next.session().Resume.Heard; time.Since(heard) < 90*time.Millisecond {
		t.Errorf("last heard: got %v ago, want 100 ms or more", time.Since(heard))
	}
}

// TestASilenceThatWasTooLongIsOver when the next daemon comes, though the client has left half a
// line for it to look at.
func TestASilenceThatWasTooLongIsOver(t *testing.T) {
	d, st, silent := halfway(t, nil)
	st.silence = time.Hour
	d.leave()
	next := st.next(idling(time.Hour))
	other := next.Greeted()
	silent.HearEnd()
	next.AwaitRecords(" [timeout]: half\n", "close from "+silent.Addr()+": idle, 2 records, 8 bytes\n")
	other.Say("here\n") // a silence that began anew goes on
	next.AwaitRecords(other.Addr() + ": here\n")
}

// TestAgeGoesOnWhileNobodyRuns: a session's age counts from its beginning, in whatever process.
func TestAgeGoesOnWhileNobodyRuns(t *testing.T) {
	d, st, conn := halfway(t, nil)
	d.session().Slot.Open(time.Now().Add(-time.Hour))
	d.leave()
	next := st.next(bounding(func(p *config.Policy) { p.MaxSession = time.Hour }))
	conn.HearEnd()
	next.AwaitRecords(" from "+conn.Addr()+" [timeout]: half\n", "close from "+conn.Addr()+": age, 2 records, 8 bytes\n")
}

// TestASessionsAgeIsNoMatterOfTheClock either, of one that goes on with the next daemon.
func TestASessionsAgeIsNoMatterOfTheClock(t *testing.T) {
	for _, c := range []struct {
		name      string
		opened    time.Duration // from now, as the clock shows it to the next daemon
		from, end time.Duration // what its age may be
	}{
		{"an hour ago", -time.Hour, time.Hour, 2 * time.Hour},
		{"to come, the clock was set back", time.Hour, 0, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st, _ := halfway(t, nil)
			d.session().Slot.Open(time.Now().Add(c.opened))
			d.leave()
			opened := st.next(nil).session().Opened
			if age := time.Since(opened); age < c.from || age >= c.end {
				t.Errorf("age: got %v, want it from %v to %v", age, c.from, c.end)
			}
			if opened == opened.Round(0) {
				t.Errorf("got %v, want a moment of the monotonic clock", opened)
			}
		})
	}
}

// TestTheTimeOfAMessageGoesOnWhileNobodyRuns: it counts from its last bytes before.
func TestTheTimeOfAMessageGoesOnWhileNobodyRuns(t *testing.T) {
	d, st, conn := halfway(t, nil)
	st.silence = time.Hour
	d.leave()
	next := st.next(bounding(func(p *config.Policy) { p.MessageTimeout = time.Hour }))
	other := next.Greeted()
	other.Say("half")
	conn.HearEnd()
	next.AwaitRecords(" from "+conn.Addr()+" [timeout]: half\n", "close from "+conn.Addr()+": slow, 2 records, 8 bytes\n")
	other.Say(" a line\n") // one that began anew goes on
	next.AwaitRecords(other.Addr() + ": half a line\n")
}

// TestBytesCountOnWithTheNextDaemon: a session may send no more for having had two daemons.
func TestBytesCountOnWithTheNextDaemon(t *testing.T) {
	change := bounding(func(p *config.Policy) { p.MaxSessionBytes = int64(len("one\nhalf a line\n")) })
	d, st, conn := halfway(t, change)
	d.leave()
	next := st.next(change)
	conn.Say(" a line\ntoo much\n")
	next.AwaitRecords(": half a line\n", "close from "+conn.Addr()+": volume, 2 records, 16 bytes\n")
}

// TestPlacesAreTakenOnWithTheNextDaemon: who was there counts, and gives the place back.
func TestPlacesAreTakenOnWithTheNextDaemon(t *testing.T) {
	change := func(c *config.Config) { c.Limits.Clients = 1 }
	d, st := surviving(t, change)
	d.Open()
	conn := d.Greeted()
	d.leave()
	next := st.next(change)
	waiting := next.Client()
	next.Log.Await(t, "as many clients as limits.clients allows")
	if n := next.Server.Clients(); n != 1 {
		t.Errorf("clients: got %d, want 1", n)
	}
	_ = conn.CloseWrite()
	conn.HearEnd()
	waiting.Hear(next.Banner)
}

// TestSourcesCountOnWithTheNextDaemon, whose limit was reached under the one before.
func TestSourcesCountOnWithTheNextDaemon(t *testing.T) {
	change := func(c *config.Config) { c.Limits.ClientsPerSource = 1 }
	d, st := surviving(t, change)
	d.Open()
	conn := d.Greeted()
	d.leave()
	next := st.next(change)
	next.Client().Refused("")
	_ = conn.CloseWrite()
	conn.HearEnd()
	servertest.Eventually(t, func() bool {
		_, err := io.ReadFull(next.Client(), make([]byte, len(next.Banner)))
		return err == nil
	}, func() { t.Error("got nobody let in, want one once the first has left") })
}
