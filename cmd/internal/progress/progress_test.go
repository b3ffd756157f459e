package progress

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBarNeverWraps(t *testing.T) {
	p := &Progress{}
	p.Title("1/3 reference coroutine: ")
	p.Phase("visits", 1000, func(perSecond float64) string { return fmt.Sprintf("%.0f/s", perSecond) })
	p.since = time.Now().Add(-time.Second)
	p.Add(500)
	for columns := 1; columns < 120; columns++ {
		if got := p.line(columns, false); len(got) >= max(columns, 2) {
			t.Errorf("%d columns: got %q, which has %d", columns, got, len(got))
		}
	}
	if got, want := p.line(100, false), "visits [===============>              ]  50%  "; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	if got := p.line(100, true); !strings.Contains(got, "\x1b[32m===") {
		t.Errorf("got %q, want colour", got)
	}
}

func TestLinesComeOverTheBar(t *testing.T) {
	var screen strings.Builder
	p := &Progress{}
	n, err := p.Over(&screen, &screen).Write([]byte("a line\n"))
	if want := "\r\x1b[Ka line\n"; n != 7 || err != nil || screen.String() != want {
		t.Errorf("got %d (%v) and %q, want 7 and %q", n, err, screen.String(), want)
	}
}
