package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// errClosed is what a sink returns that was closed.
var errClosed = errors.New("sink is closed")

// TestHowAConnectionEndsIsTheReason, and all that came before is recorded.
func TestHowAConnectionEndsIsTheReason(t *testing.T) {
	long := strings.Repeat("x", moveSize+1)
	for _, c := range []struct {
		broken error // nil: the client closes
		want   Reason
	}{
		{nil, ByEOF}, {unix.ECONNRESET, ByReset}, {unix.EPIPE, ByReset}, {unix.ETIMEDOUT, ByLoss},
		{unix.EHOSTUNREACH, ByLoss}, {unix.ENETUNREACH, ByLoss}, {unix.EIO, ByError},
	} {
		for _, rest := range []string{"", "half", long} {
			t.Run(fmt.Sprintf("%s with %d bytes", c.want, len(rest)), func(t *testing.T) {
				bubble(t, nil, func(f *fixture) {
					f.start()
					f.send("one\n" + rest)
					if c.broken == nil {
						f.sendEnd()
					} else {
						f.client.Break(c.broken)
						synctest.Wait()
					}
					f.over(0)
					want := []string{"open", ": one"}
					if rest != "" {
						want = append(want, "[eof]: "+rest)
					}
					n := len(want) - 1
					f.recorded(append(want, fmt.Sprintf("close: %s, %d records, %d bytes", c.want, n, 4+len(rest)))...)
					if l := f.log.String(); c.broken != nil && !strings.Contains(l, c.broken.Error()) {
						t.Errorf("log: got %q, want %q in it", l, c.broken)
					}
				})
			})
		}
	}
}

// TestWhatIsMalformedEndsTheSession: the rest is recorded, and the log tells where it began.
func TestWhatIsMalformedEndsTheSession(t *testing.T) {
	bubble(t, func(l *config.Listener) { l.Framing = "octet-counted" }, func(f *fixture) {
		f.start()
		f.send("3 abc\x16\x03\x01")
		f.over(0)
		f.recorded("open", ": abc", `[malformed]: \x16\x03\x01`, "close: malformed, 2 records, 8 bytes")
		if l := f.log.String(); !strings.Contains(l, `err="no octet-counted message begins at byte 5"`) {
			t.Errorf("log: got %q, want where", l)
		}
	})
}

// TestASinkThatIsClosedLosesWhatItHadNotWritten, which is counted and logged as an error.
func TestASinkThatIsClosedLosesWhatItHadNotWritten(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.send("one\n")
		f.sink.hold()
		f.send("two\nthree\nhalf")
		f.sink.close(errClosed)
		synctest.Wait()
		f.over(0)
		f.recorded("open", ": one")
		l := f.log.String()
		for _, want := range []string{"level=ERROR", "reason=sink", "records=1", "lost=2", "err=\"sink is closed\""} {
			if !strings.Contains(l, want) {
				t.Errorf("log: got %q, want %s in it", l, want)
			}
		}
		if got := f.env.Records.Load(); got != 1 {
			t.Errorf("records: got %d, want 1", got)
		}
	})
}

// TestAClientThatTakesNoAcknowledgementsIsClosed when it is due, and what it has sent by then is
// recorded.
func TestAClientThatTakesNoAcknowledgementsIsClosed(t *testing.T) {
	const timeout = 7 * time.Second
	for _, c := range []struct {
		name   string
		broken error
		lasted time.Duration
		want   []string
	}{
		{"it is there", nil, timeout, []string{": one", ": two", "[timeout]: half", "close: ack, 3 records, 12 bytes"}},
		{"it has gone", unix.ECONNRESET, time.Second, []string{": one", ": two", "[eof]: half", "close: reset, 3 records, 12 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(l *config.Listener) { l.Ack, l.AckTimeout = config.Text("{offset}\n"), timeout }, func(f *fixture) {
				f.client.SetRoom(1)
				f.start()
				f.send("one\n", "two\nhalf")
				f.recorded("open", ": one")
				f.pass(time.Second)
				if c.broken != nil {
					f.client.Break(c.broken)
				}
				f.pass(c.lasted - time.Second - time.Nanosecond + 1)
				f.over(c.lasted)
				f.recorded(append([]string{"open"}, c.want...)...)
				if got := f.client.Received(); got != "0" {
					t.Errorf("received %q, want what there was room for", got)
				}
			})
		})
	}
}

// TestTheTimeForAnAcknowledgementBeginsAnew with each that was taken.
func TestTheTimeForAnAcknowledgementBeginsAnew(t *testing.T) {
	const timeout = 7 * time.Second
	bubble(t, func(l *config.Listener) { l.Ack, l.AckTimeout = config.Text("{offset}\n"), timeout }, func(f *fixture) {
		f.client.SetRoom(1)
		f.start()
		for i := range 5 {
			f.send("x\n")
			f.pass(timeout - time.Nanosecond)
			f.served()
			f.client.SetRoom(2) // the rest of it, and the first byte of the next
			synctest.Wait()
			if got, want := strings.Count(f.client.Received(), "\n"), i+1; got != want {
				t.Errorf("received %d acknowledgements, want %d", got, want)
			}
		}
	})
}

// TestADrainsEndEndsTheWaitForATaker, however long that may be.
func TestADrainsEndEndsTheWaitForATaker(t *testing.T) {
	bubble(t, func(l *config.Listener) { l.Ack, l.AckTimeout = config.Text("{offset}\n"), 0 }, func(f *fixture) {
		f.client.SetRoom(1)
		f.start()
		f.send("one\n", "half")
		f.enter(Draining)
		f.pass(time.Hour)
		f.served()
		f.enter(Over)
		f.over(time.Hour)
		f.recorded("open", ": one", "[timeout]: half", "close: drain, 2 records, 8 bytes")
	})
}

// TestABannerHasItsTime: then the session ends, and what was sent meanwhile is recorded.
func TestABannerHasItsTime(t *testing.T) {
	banner := func(l *config.Listener) { l.Banner = config.Text("hello\n") }
	t.Run("not taken", func(t *testing.T) {
		bubble(t, banner, func(f *fixture) {
			f.client.SetRoom(3)
			f.start()
			f.send("sent meanwhile\nhalf")
			f.pass(10*time.Second - time.Nanosecond)
			f.served()
			f.recorded()
			f.pass(time.Nanosecond)
			f.over(10 * time.Second)
			f.recorded("open", ": sent meanwhile", "[timeout]: half", "close: banner, 2 records, 19 bytes")
		})
	})
	t.Run("taken late", func(t *testing.T) {
		bubble(t, banner, func(f *fixture) {
			f.client.SetRoom(3)
			f.start()
			f.pass(9 * time.Second)
			f.client.SetRoom(3)
			f.send("one\n")
			f.pass(time.Hour)
			f.served()
			f.received("hello\n", false)
			f.recorded("open", ": one")
		})
	})
	t.Run("its client has gone", func(t *testing.T) {
		bubble(t, banner, func(f *fixture) {
			f.client.SetRoom(3)
			f.start()
			f.send("one\n")
			f.client.Break(unix.ECONNRESET)
			synctest.Wait()
			f.over(0)
			f.recorded("open", ": one", "close: reset, 1 records, 4 bytes")
		})
	})
	t.Run("the drain is over", func(t *testing.T) {
		bubble(t, banner, func(f *fixture) {
			f.client.SetRoom(3)
			f.start()
			f.enter(Over)
			f.over(0)
			f.recorded("open", "close: banner, 0 records, 0 bytes")
		})
	})
}

// TestReasonsOfARecorder are those that it returns, and no others.
func TestReasonsOfARecorder(t *testing.T) {
	for _, r := range []Reason{
		ByLeave, ByEOF, ByReset, ByLoss, ByIdle, ByAge, ByVolume, BySlow, ByDrain, ByBanner, ByAck, ByMalformed, BySink, ByError,
	} {
		if !r.OfRecorder() {
			t.Errorf("%s: got no reason of a recorder", r)
		}
	}
	for _, r := range []Reason{"", "nosuch", "exit 0", ByProcess, BySuspect, ByProxy, ByExec, ByTimeout, byRefusal} {
		if r.OfRecorder() {
			t.Errorf("%s: got a reason of a recorder", r)
		}
	}
}
