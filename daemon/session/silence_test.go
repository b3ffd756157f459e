package session

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// silent returns a change by which silence ends a message.
func silent(d time.Duration) func(*config.Listener) {
	return func(l *config.Listener) { l.Framing, l.Silence = "silence", d }
}

const ms = time.Millisecond

// TestSilenceEndsAMessage, to the nanosecond, and no sooner.
func TestSilenceEndsAMessage(t *testing.T) {
	bubble(t, silent(50*ms), func(f *fixture) {
		f.start()
		f.pass(time.Hour)
		f.send("one")
		f.pass(50*ms - 1)
		f.recorded("open")
		f.unread(len("one"))
		f.pass(1)
		f.recorded("open", ": one")
		f.unread(0)
		f.pass(time.Hour)
		f.send("tw")
		f.pass(49 * ms)
		f.send("o")
		f.pass(50*ms - 1)
		f.recorded("open", ": one")
		f.pass(1)
		f.recorded("open", ": one", ": two")
		f.send("three")
		f.sendEnd()
		f.over(2*time.Hour + 149*ms)
		f.recorded("open", ": one", ": two", ": three", "close: eof, 3 records, 11 bytes")
	})
}

// TestALongMessageWithoutSilenceComesInPieces of which the last one shows its end.
func TestALongMessageWithoutSilenceComesInPieces(t *testing.T) {
	bubble(t, func(l *config.Listener) { silent(50 * ms)(l); l.MaxMessage = 4 }, func(f *fixture) {
		f.start()
		f.send("abcd", "efgh", "i")
		f.recorded("open", "[cut]: abcd", "[cut]: efgh")
		f.pass(50 * ms)
		f.recorded("open", "[cut]: abcd", "[cut]: efgh", "[cut]: i")
		f.send("jklm")
		f.pass(50 * ms)
		f.recorded("open", "[cut]: abcd", "[cut]: efgh", "[cut]: i", ": jklm")
	})
}

// TestSilenceEndsAMessageThatIsOutOfTheSocket too.
func TestSilenceEndsAMessageThatIsOutOfTheSocket(t *testing.T) {
	bubble(t, silent(50*ms), func(f *fixture) {
		f.start()
		long := strings.Repeat("x", moveSize+1)
		f.send(long)
		f.unread(0)
		f.pass(20 * ms)
		f.send("y")
		f.pass(50 * ms)
		f.recorded("open", ": "+long+"y")
		if got := f.env.Spill.Used(); got != 0 {
			t.Errorf("memory: got %d bytes, want none", got)
		}
	})
}

// TestSilenceAndTheOtherTimes: whichever is over first.
func TestSilenceAndTheOtherTimes(t *testing.T) {
	for _, c := range []struct {
		name   string
		bounds Bounds
		lasted time.Duration
		want   []string
	}{
		{"idle is later", Bounds{Idle: time.Second}, time.Second, []string{": half", "close: idle, 1 records, 4 bytes"}},
		{"idle is first", Bounds{Idle: 20 * ms}, 20 * ms, []string{"[timeout]: half", "close: idle, 1 records, 4 bytes"}},
		{"the message is late", Bounds{Message: 20 * ms}, 20 * ms, []string{"[timeout]: half", "close: slow, 1 records, 4 bytes"}},
		{"both at once", Bounds{Session: 50 * ms}, 50 * ms, []string{": half", "close: age, 1 records, 4 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, silent(50*ms), func(f *fixture) {
				f.bounds.Store(&c.bounds)
				f.start()
				f.send("half")
				f.pass(c.lasted)
				f.over(c.lasted)
				f.recorded(append([]string{"open"}, c.want...)...)
			})
		})
	}
}

// TestAMessageThatIsNotWrittenIsNoSilence of its client's, which may wait for us.
func TestAMessageThatIsNotWrittenIsNoSilence(t *testing.T) {
	bubble(t, silent(50*ms), func(f *fixture) {
		f.bounds.Store(&Bounds{Idle: time.Second})
		f.start()
		f.send("half")
		f.sink.hold()
		f.pass(time.Minute)
		f.sink.resume()
		f.pass(950 * ms)
		f.over(time.Minute + 950*ms)
		f.recorded("open", ": half", "close: idle, 1 records, 4 bytes")
	})
}

// TestSilenceGoesOnOverARestart: what the previous process has seen is not new.
func TestSilenceGoesOnOverARestart(t *testing.T) {
	bubble(t, silent(50*ms), func(f *fixture) {
		f.client.Send("half")
		f.config.Resume = &Resume{Greeted: true, Opened: true, Heard: time.Now().Add(-30 * ms), Unread: len("half")}
		f.start()
		f.pass(20*ms - 1)
		f.recorded()
		f.pass(1)
		f.recorded(": half")
	})
}

// TestAMessageThatSilenceEndedIsKnownAfterACrash, which came before it was out of the socket: it is
// not recorded again, and the next one is a message of its own.
func TestAMessageThatSilenceEndedIsKnownAfterACrash(t *testing.T) {
	bubble(t, silent(50*ms), func(f *fixture) {
		f.client.Send("onetwo")
		f.config.Resume = &Resume{Greeted: true, Opened: true, Written: 3, Cut: 3}
		f.start()
		f.pass(50 * ms)
		f.recorded(": two")
	})
}

// TestSilenceHoldsNoBuffer while it lasts.
func TestSilenceHoldsNoBuffer(t *testing.T) {
	bubble(t, silent(50*ms), func(f *fixture) {
		f.start()
		f.send("half")
		if got := len(f.env.Buffers.places); got != maxBuffers {
			t.Errorf("buffers that may be lent: got %d, want all %d", got, maxBuffers)
		}
	})
}

// TestRandomSilences: whatever the pauses and the segments, the messages are those that the pauses
// say.
func TestRandomSilences(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var messages []record.Message
		bubble(t, func(l *config.Listener) { silent(50 * ms)(l); l.MaxMessage = 16 << 20 }, func(f *fixture) {
			f.env.Buffers = NewBuffers(func() Encoder { return noting{record.NewEncoder(record.Text), &messages} })
			f.start()
			want := []string{""}
			for range 1 + rnd.IntN(30) {
				text := strings.Repeat(string(rune('a'+rnd.IntN(26))), 1+rnd.IntN([]int{3, 100, 2 * moveSize}[rnd.IntN(3)]))
				want[len(want)-1] += text
				f.client.Send(text)
				synctest.Wait()
				if pause := time.Duration(rnd.IntN(80)) * ms; pause > 0 {
					if f.pass(pause); pause >= 50*ms {
						want = append(want, "")
					}
				}
			}
			f.sendEnd()
			f.over(time.Since(f.opened))
			var got []string
			for _, m := range messages {
				if m.Flag != "" {
					t.Errorf("got a message with the flag %q, want whole ones", m.Flag)
				}
				got = append(got, string(m.Raw))
			}
			if want = slices.DeleteFunc(want, func(s string) bool { return s == "" }); !slices.Equal(got, want) {
				t.Errorf("seed %d: got %.60q, want %.60q", seed, got, want)
			}
		})
	}
}

// TestAPieceIsKnownAfterACrash, too: what follows is of the same message.
func TestAPieceIsKnownAfterACrash(t *testing.T) {
	bubble(t, func(l *config.Listener) { silent(50 * ms)(l); l.MaxMessage = 4 }, func(f *fixture) {
		f.client.Send("abcdefghij")
		f.config.Resume = &Resume{Greeted: true, Opened: true, Written: 8, Cut: 8}
		f.start()
		f.pass(50 * ms)
		f.recorded("[cut]: ij")
	})
}
