package daemon

import (
	"strings"
	"testing"
	"time"

	"tcpmux/config"
)

// TestAFloodOfVisitsCannotFloodTheLog, also where the record file does not have the ends of sessions.
func TestAFloodOfVisitsCannotFloodTheLog(t *testing.T) {
	const visits, most = 40, 5
	d := newDesk(t, func(cfg *config.Config) { cfg.Record.Events = false }).open()
	d.srv.lines.mu.Lock()
	d.srv.lines.burst, d.srv.lines.every = most, time.Hour
	d.srv.lines.mu.Unlock()
	for range visits {
		c := d.greeted()
		c.say("hello\n")
		_ = c.CloseWrite()
		c.hearEnd()
		d.awaitClients(0)
	}
	d.srv.lines.tell(d.srv.log, 0)
	log := d.log.await(t, "lines=35")
	if got := strings.Count(log, "session closed"); got != most {
		t.Errorf("got %d lines, want %d", got, most)
	}
}
