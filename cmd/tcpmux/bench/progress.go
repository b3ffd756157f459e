package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Progress is how far a run has come. A nil one is told in vain.
type Progress struct {
	done atomic.Int64

	mu    sync.Mutex
	title string // before each phase
	name  string
	total int64
	since time.Time
}

// Title is shown before the phase.
func (p *Progress) Title(s string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.title = s
}

func (p *Progress) phase(name string, total int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.total, p.since = name, total, time.Now()
	p.done.Store(0)
}

func (p *Progress) add(n int64) {
	if p != nil {
		p.done.Add(n)
	}
}

// elapse counts milliseconds until ctx ends.
func (p *Progress) elapse(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.add(100)
		case <-ctx.Done():
			return
		}
	}
}

// Bar draws progress on a terminal of so many columns, ten times a second, until stop is called, which wipes it away.
func (p *Progress) Bar(w io.Writer, columns func() int, colour bool) (stop func()) {
	stopped, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			fmt.Fprintf(w, "\r%s\x1b[K", p.line(columns(), colour))
			select {
			case <-tick.C:
			case <-stopped:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	}()
	return func() {
		close(stopped)
		<-gone
	}
}

const barWidth = 30

// line is one drawing, at most columns-1 wide so that it never wraps.
func (p *Progress) line(columns int, colour bool) string {
	p.mu.Lock()
	title, name, total, since := p.title, p.name, p.total, p.since
	p.mu.Unlock()
	done := p.done.Load()
	if total <= 0 {
		return ""
	}
	full := int(barWidth * min(done, total) / total)
	bar := strings.Repeat("=", full)
	if full < barWidth {
		bar += ">"
	}
	head, tail := title+name+" [", fmt.Sprintf("] %3d%%", min(done, total)*100/total)
	if rate := perSecond(done, time.Since(since)); name != "hold" && rate > 0 {
		tail += fmt.Sprintf("  %s/s", thousands(rate))
	}
	if len(head)+barWidth+len(tail) >= columns {
		return cut(strings.TrimSuffix(head, " [")+strings.TrimPrefix(tail, "]"), columns-1)
	}
	bar = fmt.Sprintf("%-*.*s", barWidth, barWidth, bar)
	if colour {
		bar = "\x1b[32m" + bar + "\x1b[0m"
	}
	return head + bar + tail
}

func cut(s string, n int) string { return s[:max(0, min(n, len(s)))] }
