package session

import (
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// relayed starts a fixture whose client's records are handed on to a pipe, which it returns the
// reading end of.
func relayed(f *fixture) (relay **Relay, program *os.File) {
	f.t.Helper()
	program, pipe, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = program.Close() })
	relay = new(*Relay)
	f.config.Settings.Service = func(s *Session) (Service, error) {
		r := NewRecorder(s)
		*relay = r.Relay(pipe)
		return r, nil
	}
	f.start()
	return relay, program
}

// TestAProgramGetsWhatIsRecorded, and nothing before: also what had left the socket.
func TestAProgramGetsWhatIsRecorded(t *testing.T) {
	long := strings.Repeat("x", moveSize+1)
	bubble(t, nil, func(f *fixture) {
		relay, program := relayed(f)
		f.sink.hold()
		f.send("one\nhalf")
		f.unread(len("one\nhalf"))
		f.sink.resume()
		synctest.Wait()
		f.unread(len("half"))
		f.send(" a line\n", long)
		f.send(" long\nrest")
		f.sendEnd()
		f.over(0)
		(*relay).End()
		got, err := io.ReadAll(program)
		if want := "one\nhalf a line\n" + long + " long\nrest"; string(got) != want || err != nil {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
		}
		f.recorded("open", ": one", ": half a line", ": "+long+" long", "[eof]: rest", "close: eof, 4 records, 16411 bytes")
	})
}

// TestAProgramThatReadsNoMoreIsNoReasonToEnd: its client is recorded all the same.
func TestAProgramThatReadsNoMoreIsNoReasonToEnd(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		_, program := relayed(f)
		_ = program.Close()
		f.send("one\n", "two\n")
		f.served()
		f.recorded("open", ": one", ": two")
		f.unread(0)
	})
}

// TestTheEndOfAProgramEndsItsSession, and what has arrived is recorded.
func TestTheEndOfAProgramEndsItsSession(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		relay, _ := relayed(f)
		f.send("one\nhalf")
		(*relay).End()
		f.Refresh()
		synctest.Wait()
		f.over(0)
		f.recorded("open", ": one", "[timeout]: half", "close: drain, 2 records, 8 bytes")
	})
}

// TestAProgramAloneSpeaks: a client that drains is not told so.
func TestAProgramAloneSpeaks(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		relayed(f)
		f.enter(Draining)
		f.received("", false)
	})
}

// TestWhoIsAnsweredIsNotIdle: a client that listens to its upstream may say nothing.
func TestWhoIsAnsweredIsNotIdle(t *testing.T) {
	s := &Session{Config: Config{Settings: &Settings{}, Bounds: new(atomic.Pointer[Bounds])}}
	s.Bounds.Store(&Bounds{Idle: time.Minute})
	heard := time.Now()
	r := &Recorder{s: s, clock: clock{heard: instantOf(heard)}, relay: &Relay{}}
	for _, c := range []struct {
		answered, want time.Duration
	}{{-time.Hour, time.Minute}, {30 * time.Second, 90 * time.Second}, {20 * time.Second, 80 * time.Second}} {
		r.relay.Answered(heard.Add(c.answered))
		if at, why := r.due(); at.Sub(heard) != c.want || why != ByIdle {
			t.Errorf("answered after %v: got %v, %v, want %v, %v", c.answered, at.Sub(heard), why, c.want, ByIdle)
		}
	}
}
