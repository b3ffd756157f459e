package session_test

import (
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// idling returns a change of how long clients may be silent.
func idling(timeout time.Duration) func(*config.Config) {
	return func(cfg *config.Config) { cfg.Listeners[0].IdleTimeout = timeout }
}

func TestTheSilentAreClosed(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		want       []string // records
	}{
		{"from the first", "", []string{": idle, 0 records, 0 bytes\n"}},
		{"after a message", "one\n", []string{": one\n", ": idle, 1 records, 4 bytes\n"}},
		{"in the middle of one", "one\nhalf", []string{": one\n", " [timeout]: half\n", ": idle, 2 records, 8 bytes\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := servertest.New(t, idling(50*time.Millisecond)).Open()
			conn := f.Greeted()
			conn.Say(c.sent)
			if rest := conn.HearEnd(); rest != "" {
				t.Errorf("heard %q, want nothing", rest)
			}
			f.AwaitRecords(c.want...)
			if l := f.Log.Await(t, "session closed"); !strings.Contains(l, " reason=idle ") {
				t.Errorf("log: got %s, want reason=idle", l)
			}
		})
	}
}
