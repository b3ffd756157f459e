package relay_test

import (
	"testing"
	"time"

	"tcpmux/config"
)

// TestMaxSessionBoundsConnecting too, whatever connect_timeout is.
func TestMaxSessionBoundsConnecting(t *testing.T) {
	f := proxy(t, []string{crowded(t)}, func(l *config.Listener) { l.Limits.MaxSession = 50 * time.Millisecond })
	c := f.Client()
	c.Say("question")
	if got := c.HearEnd(); got != "" {
		t.Errorf("got %q", got)
	}
	f.AwaitRecords(c.Addr() + ": age, ")
	f.AwaitClients(0)
}
