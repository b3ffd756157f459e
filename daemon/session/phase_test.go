package session

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/state"
)

func TestAPhaseOnlyGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		s := New(f.config)
		for _, c := range []struct{ enter, want Phase }{
			{Serving, Serving}, {Draining, Draining}, {Serving, Draining}, {Over, Over}, {Leaving, Over}, {Draining, Over},
		} {
			if s.Enter(c.enter); s.Phase() != c.want {
				t.Errorf("entered %d: got %d, want %d", c.enter, s.Phase(), c.want)
			}
		}
	})
}

// TestWhoDrainsIsToldAndMayFinish: everything that comes until its end is recorded.
func TestWhoDrainsIsToldAndMayFinish(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.send("one\nhalf")
		f.received("", false)
		f.enter(Draining)
		f.received("", true)
		f.send(" a line\n")
		f.pass(time.Hour)
		f.served()
		f.sendEnd()
		f.over(time.Hour)
		f.recorded("open", ": one", ": half a line", "close: eof, 2 records, 16 bytes")
	})
}

// TestWhoDrainsFromTheFirstIsTold: the phase came before the session waited.
func TestWhoDrainsFromTheFirstIsTold(t *testing.T) {
	bubble(t, func(l *config.Listener) { l.Banner = config.Text("hello\n") }, func(f *fixture) {
		f.Session = New(f.config)
		f.Enter(Draining)
		go func() { defer close(f.ended); f.Run() }()
		synctest.Wait()
		f.received("hello\n", true)
	})
}

// TestADrainAcknowledgesWhatHasArrived before the client is told; what comes then is recorded
// and not acknowledged.
func TestADrainAcknowledgesWhatHasArrived(t *testing.T) {
	bubble(t, func(l *config.Listener) { l.Ack = config.Text("{offset}\n") }, func(f *fixture) {
		f.start()
		f.sink.hold()
		f.send("a\n", "b\nhalf")
		f.enter(Draining)
		f.received("", false)
		f.sink.resume()
		synctest.Wait()
		f.received("0\n2\n", true)
		f.send(" a line\n")
		f.sendEnd()
		f.over(0)
		f.received("0\n2\n", true)
		f.recorded("open", ": a", ": b", ": half a line", "close: eof, 3 records, 16 bytes")
	})
}

// TestWhenTimeIsOverWhatHasArrivedIsRecorded, and no more is waited for.
func TestWhenTimeIsOverWhatHasArrivedIsRecorded(t *testing.T) {
	long := strings.Repeat("x", moveSize+1)
	for _, c := range []struct {
		name, sent string
		want       []string
	}{
		{"nothing", "", []string{"close: drain, 0 records, 0 bytes"}},
		{"a message", "one\n", []string{": one", "close: drain, 1 records, 4 bytes"}},
		{"half a message", "one\nhalf", []string{": one", "[timeout]: half", "close: drain, 2 records, 8 bytes"}},
		{"half a long message", long, []string{"[timeout]: " + long, "close: drain, 1 records, 16385 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, nil, func(f *fixture) {
				f.start()
				f.send(c.sent)
				f.pass(time.Second)
				f.enter(Over)
				f.over(time.Second)
				f.recorded(append([]string{"open"}, c.want...)...)
			})
			bubble(t, nil, func(f *fixture) { // it had arrived, and nobody looked
				f.sink.hold()
				f.start()
				f.send(c.sent)
				f.enter(Over)
				f.sink.resume()
				synctest.Wait()
				f.over(0)
				f.recorded(append([]string{"open"}, c.want...)...)
			})
		})
	}
}

// TestWhoLeavesIsNotTold: what is not recorded stays in the socket, for the next process.
func TestWhoLeavesIsNotTold(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.send("one\nhalf")
		f.enter(Leaving)
		f.over(0)
		f.recorded("open", ": one")
		f.unread(len("half"))
		f.received("", false)
		if got := f.log.String(); got != "" {
			t.Errorf("log: got %q, want nothing", got)
		}
	})
}

// TestWhatIsOutOfTheSocketIsLeftInItsSlot, or recorded as a piece when there is none.
func TestWhatIsOutOfTheSocketIsLeftInItsSlot(t *testing.T) {
	long := strings.Repeat("x", moveSize+1)
	for _, kept := range []bool{true, false} {
		bubble(t, nil, func(f *fixture) {
			if kept {
				f.config.Slot = newSlot(t)
			}
			f.start()
			f.send(long)
			f.enter(Leaving)
			f.over(0)
			want := []string{"open"}
			if !kept {
				want = append(want, "[cut]: "+long)
			}
			f.recorded(want...)
		})
	}
}

// newSlot returns a slot of a file that is closed with the test.
func newSlot(t *testing.T) *state.Slot {
	t.Helper()
	file, err := state.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file.Take(1)
}

// TestWhoLeavesWhileTheSinkIsClosedLosesNothing: it is all in the socket.
func TestWhoLeavesWhileTheSinkIsClosedLosesNothing(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.sink.hold()
		f.send("one\n")
		f.enter(Leaving)
		f.served()
		f.sink.close(errClosed)
		synctest.Wait()
		f.over(0)
		f.unread(len("one\n"))
		f.recorded("open")
		if got := f.log.String(); got != "" {
			t.Errorf("log: got %q, want nothing", got)
		}
	})
}

// TestWhoLeavesInAHurryWaitsForNobody: its client does not take what it is sent.
func TestWhoLeavesInAHurryWaitsForNobody(t *testing.T) {
	bubble(t, func(l *config.Listener) { l.Ack, l.AckTimeout = config.Text("{offset}\n"), 0 }, func(f *fixture) {
		f.client.SetRoom(1)
		f.start()
		f.send("one\ntwo\n")
		f.enter(Leaving)
		f.pass(time.Hour)
		f.served()
		if f.Hurried() {
			t.Error("in a hurry before Hurry")
		}
		f.Hurry()
		synctest.Wait()
		f.over(time.Hour)
		if !f.Hurried() {
			t.Error("in no hurry after Hurry")
		}
	})
}

// TestRefreshIsHarmless at any moment, however often.
func TestRefreshIsHarmless(t *testing.T) {
	bubble(t, boundsOf(Bounds{Idle: time.Second}), func(f *fixture) {
		f.Session = New(f.config)
		f.Refresh()
		go func() { defer close(f.ended); f.Run(); f.lasted = time.Since(f.opened) }()
		synctest.Wait()
		for range 10 {
			f.Refresh()
			f.pass(time.Second / 20)
		}
		f.served()
		f.pass(time.Second / 2)
		f.over(time.Second)
		f.Refresh()
		f.recorded("open", "close: idle, 0 records, 0 bytes")
	})
}
