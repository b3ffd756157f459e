package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
)

func TestLineLimit(t *testing.T) {
	l, now := lineLimit{burst: 3, every: time.Second}, time.Now()
	allowed := func(after time.Duration, lines int) (n int) {
		for range lines {
			if l.allow(now.Add(after)) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		name  string
		after time.Duration
		want  int
	}{{"a burst", 0, 3}, {"nothing comes back at once", 0, 0}, {"one a second", time.Second, 1}, {"never more than a burst", time.Hour, 3}} {
		if got := allowed(c.after, 10); got != c.want {
			t.Errorf("%s: got %d lines allowed of 10, want %d", c.name, got, c.want)
		}
	}
	if got, want := l.takeSkipped(), int64(40-7); got != want {
		t.Errorf("skipped: got %d, want %d", got, want)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	allowed(time.Hour, 2)
	l.tell(log, time.Hour)
	allowed(time.Hour, 2)
	l.tell(log, time.Hour)
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "lines=2") {
		t.Errorf("got %q, want one line that tells of 2", got)
	}
}

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
