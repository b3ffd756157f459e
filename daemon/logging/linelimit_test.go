package logging

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLineLimit(t *testing.T) {
	l, now := NewLineLimit(3, time.Second), time.Now()
	for _, c := range []struct {
		name  string
		after time.Duration
		want  int
	}{
		{"a burst", 0, 3},
		{"nothing comes back at once", 0, 0},
		{"one a second", time.Second, 1},
		{"never more than a burst", time.Hour, 3},
	} {
		got := 0
		for range 10 {
			if l.Allow(now.Add(c.after)) {
				got++
			}
		}
		if got != c.want {
			t.Errorf("%s: got %d lines allowed of 10, want %d", c.name, got, c.want)
		}
	}
	if got, want := l.TakeSkipped(), int64(40-7); got != want {
		t.Errorf("skipped: got %d, want %d", got, want)
	}
	if got := l.TakeSkipped(); got != 0 {
		t.Errorf("skipped since then: got %d, want 0", got)
	}
}

func TestLinesThatWereLeftOutAreReportedOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l, log := NewLineLimit(1, 10*time.Hour), slog.New(slog.NewTextHandler(&out, nil))
		l.Allow(time.Now())
		for _, c := range []struct {
			name    string
			pause   time.Duration
			refused int
			want    string
		}{
			{"none was left out", 0, 0, ""},
			{"the first report", 0, 2, "lines=2"},
			{"within the interval", time.Hour - 1, 3, ""},
			{"after the interval", 1, 0, "lines=3"},
			{"none since", time.Hour, 0, ""},
		} {
			time.Sleep(c.pause)
			for range c.refused {
				l.Allow(time.Now())
			}
			out.Reset()
			l.Report(log, time.Hour)
			if got := out.String(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%s: got %q, want %q in it", c.name, got, c.want)
			}
		}
	})
}

// TestSessionLinesStayBelowTheLimitOfTheJournal: it drops messages beyond 10,000 in 30 seconds.
func TestSessionLinesStayBelowTheLimitOfTheJournal(t *testing.T) {
	l, now := SessionLines(), time.Now()
	allowed := 0
	for passed := time.Duration(0); passed < 30*time.Second; passed += time.Millisecond {
		for range 10 {
			if l.Allow(now.Add(passed)) {
				allowed++
			}
		}
	}
	if allowed < 2000 || allowed > 5000 {
		t.Errorf("got %d lines allowed in 30s, want at most half of what the journal takes", allowed)
	}
}
