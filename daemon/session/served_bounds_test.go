package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
)

// bounding returns a change of what a client may take of the first listener.
func bounding(change func(*config.Policy)) func(*config.Config) {
	return func(cfg *config.Config) { change(&cfg.Listeners[0].Limits.Policy) }
}

func TestBoundsOfASession(t *testing.T) {
	const soon = 50 * time.Millisecond
	long := strings.Repeat("x", session.MoveSize+1)
	for _, c := range []struct {
		name   string
		change func(*config.Policy)
		sent   string
		want   []string // records
		reason string
	}{
		{"age", func(p *config.Policy) { p.MaxSession = soon }, "", []string{": age, 0 records, 0 bytes\n"}, "age"},
		{"a slow message", func(p *config.Policy) { p.MessageTimeout = soon }, "one\nhalf", []string{": one\n", " [timeout]: half\n", ": slow, 2 records, 8 bytes\n"}, "slow"},
		{"a slow long message", func(p *config.Policy) { p.MessageTimeout = soon }, long, []string{" [timeout]: " + long + "\n", ": slow, 1 records, 16385 bytes\n"}, "slow"},
		{"volume at a message's end", func(p *config.Policy) { p.MaxSessionBytes = 4 }, "one\ntwo\n", []string{": one\n", ": volume, 1 records, 4 bytes\n"}, "volume"},
		{"volume in the middle of a message", func(p *config.Policy) { p.MaxSessionBytes = 6 }, "one\ntwo\n", []string{": one\n", " [timeout]: tw\n", ": volume, 2 records, 6 bytes\n"}, "volume"},
		{"volume of a long message", func(p *config.Policy) { p.MaxSessionBytes = session.MoveSize }, long, []string{" [timeout]: " + long[1:] + "\n", ": volume, 1 records, 16384 bytes\n"}, "volume"},
		{"volume of one look", func(p *config.Policy) { p.MaxSessionBytes = session.ReadSize }, strings.Repeat("x\n", session.ReadSize), []string{fmt.Sprintf(": volume, %d records, %d bytes\n", session.ReadSize/2, session.ReadSize)}, "volume"},
		{"volume of several looks", func(p *config.Policy) { p.MaxSessionBytes = 2*session.ReadSize + 3 }, strings.Repeat("x\n", 2*session.ReadSize), []string{" [timeout]: x\n", fmt.Sprintf(": volume, %d records, %d bytes\n", session.ReadSize+2, 2*session.ReadSize+3)}, "volume"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := servertest.New(t, bounding(c.change)).Open()
			conn := f.Greeted()
			_, _ = conn.Write([]byte(c.sent)) // it may be broken off
			f.AwaitRecords(c.want...)
			if l := f.Log.Await(t, "session closed"); !strings.Contains(l, " reason="+c.reason+" ") {
				t.Errorf("log: got %s, want reason=%s", l, c.reason)
			}
		})
	}
}

// TestAReloadBringsBoundsToThoseWhoAreIn in the middle of a message, and does not wait for its end.
func TestAReloadBringsBoundsToThoseWhoAreIn(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Policy)
		want   string
	}{
		{"max_session", func(p *config.Policy) { p.MaxSession = time.Millisecond }, "reason=age"},
		{"message_timeout", func(p *config.Policy) { p.MessageTimeout = time.Millisecond }, "reason=slow"},
		{"max_session_bytes", func(p *config.Policy) { p.MaxSessionBytes = 4 }, "reason=volume"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, sockets := watched(t, nil)
			conn := f.Open().Greeted()
			conn.Say("half")
			sockets.awaitLowWater(t, len("half")+1)
			l := f.Config.Listeners[0]
			c.change(&l.Limits.Policy)
			f.Server.Configure(f.Binding(), l, 0)
			f.Server.Refresh()
			f.Log.Await(t, "session closed", c.want)
			f.AwaitRecords(" [timeout]: half\n")
		})
	}
}
