package builtin

import (
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
	"tcpmux/daemon/state"
)

// written is a sink in memory.
type written struct{ strings.Builder }

func (w *written) Gather(lines []byte, by sink.Giver) (t sink.Ticket, err error) {
	_, _ = w.Write(lines)
	by.Taken(int64(w.Len()))
	return t, nil
}
func (*written) Commit(sink.Ticket) error    { return nil }
func (*written) CommitNow(sink.Ticket) error { return nil }

// recording has a session record.
func recording(to *written, slot *state.Slot, prev *session.Resume) func(*config.Listener, *session.Config) {
	return func(l *config.Listener, c *session.Config) {
		l.Record, l.Ack = true, config.Text("ack") // which echo does not send
		c.Env.Buffers = session.NewBuffers(func() session.Encoder { return record.NewEncoder(record.Text) })
		c.Env.Spill = session.NewSpill()
		c.Slot, c.Resume = slot, prev
		c.Settings = &session.Settings{Sink: to}
	}
}

func slotOf(t *testing.T) *state.Slot {
	t.Helper()
	f, err := state.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f.Take(1)
}

// TestARecordedEchoLeavesInTheMiddle of what is to come back: the next process records none of it
// again, and sends the rest.
func TestARecordedEchoLeavesInTheMiddle(t *testing.T) {
	const text = "0123456789abcdef\n"
	slot, out := slotOf(t), &written{}
	bubble(t, config.ServiceEcho, recording(out, slot, nil), func(f *fixture) {
		f.client.SetRoom(10)
		f.send(text)
		f.holds(text[:10], false)
		at := time.Now()
		f.Enter(session.Leaving)
		<-f.ended
		if took := time.Since(at); took != 0 {
			t.Errorf("it has left after %v, want at once", took)
		}
		if got := slot.Tally(); got.Pieces != 10 || got.Offset != 0 || f.client.Unread() != len(text) {
			t.Errorf("got %+v, and %d bytes in the socket, want all, of which 10 came back", got, f.client.Unread())
		}
	})
	if got := out.String(); strings.Count(got, text) != 1 {
		t.Errorf("got records %q, want %q", got, text)
	}
	prev := &session.Resume{Greeted: true, Written: int64(len(text)), Cut: int64(len(text)), Counted: int64(len(text)), Records: 1}
	bubble(t, config.ServiceEcho, recording(out, slot, prev), func(f *fixture) {
		f.send(text)
		f.holds(text[10:], false)
		f.send("more\n")
		f.holds(text[10:]+"more\n", false)
		f.client.SendEnd()
		f.ends(session.ByEOF)
	})
	if got := out.String(); strings.Count(got, "abcdef\n") != 1 || strings.Count(got, "more\n") != 1 {
		t.Errorf("got records %q, want each message once", got)
	}
}

// TestARecordedEchoThatNobodyTakes ends after ack_timeout; what has come is recorded.
func TestARecordedEchoThatNobodyTakes(t *testing.T) {
	out := &written{}
	bubble(t, config.ServiceEcho, recording(out, nil, nil), func(f *fixture) {
		f.client.SetRoom(2)
		f.send("0123\n4567\n")
		time.Sleep(time.Minute)
		f.holds("01", false)
		f.ends(session.ByAck)
	})
	if got := out.String(); !strings.Contains(got, ": 0123\n") || !strings.Contains(got, ": 4567\n") {
		t.Errorf("got records %q, want both", got)
	}
}

// TestTheRateOfARecordedEcho is bounded, and a session that leaves does not pause.
func TestTheRateOfARecordedEcho(t *testing.T) {
	out := &written{}
	bubble(t, config.ServiceEcho, recording(out, nil, nil), func(f *fixture) {
		text := strings.Repeat(strings.Repeat("x", 99)+"\n", 3*burstBytes/100)
		f.client.Send(text)
		time.Sleep(1900 * time.Millisecond)
		if f.client.Unread() == 0 {
			t.Error("it has all come back before its time")
		}
		time.Sleep(200 * time.Millisecond)
		f.holds(text, false)
		f.client.Send(text)
		time.Sleep(time.Millisecond)
		at := time.Now()
		f.Enter(session.Leaving)
		<-f.ended
		if took := time.Since(at); took != 0 {
			t.Errorf("it has left after %v, want at once", took)
		}
	})
}

// TestARecordedEchoIsOver while there is more in the socket than is sent back at a time: that is
// recorded.
func TestARecordedEchoIsOver(t *testing.T) {
	const lines = 5 * burstBytes / 100
	out := &written{}
	bubble(t, config.ServiceEcho, recording(out, nil, nil), func(f *fixture) {
		f.client.Send(strings.Repeat(strings.Repeat("x", 99)+"\n", lines))
		time.Sleep(100 * time.Millisecond)
		f.Enter(session.Over)
		f.ends(session.ByDrain)
	})
	if got := strings.Count(out.String(), "xx\n"); got != lines {
		t.Errorf("got %d records, want %d", got, lines)
	}
}
