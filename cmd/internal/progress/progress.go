// Package progress shows the progress of a task as a bar at a terminal. It promises that the bar
// never wraps, that it is erased at its end, and that reporting progress is cheap.
package progress

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Progress is the progress of a task. The zero value is ready to use, and a nil one shows nothing.
// It is safe for concurrent use.
type Progress struct {
	done    atomic.Int64
	drawing sync.Mutex // held while the bar is drawn, and while something else is written

	mu    sync.Mutex
	title string // before each phase
	name  string
	total int64
	rate  func(perSecond float64) string // nil: no rate is shown
	since time.Time
}

// Title sets the text that is shown before the phase.
func (p *Progress) Title(s string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.title = s
}

// Phase begins a phase: it counts from 0 to total. rate formats the rate, and nil shows none.
func (p *Progress) Phase(name string, total int64, rate func(perSecond float64) string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.total, p.rate, p.since = name, total, rate, time.Now()
	p.done.Store(0)
}

// Add adds n to the count of the phase.
func (p *Progress) Add(n int64) {
	if p != nil {
		p.done.Add(n)
	}
}

// Elapse adds the milliseconds that pass until ctx ends, and returns then.
func (p *Progress) Elapse(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.Add(100)
		case <-ctx.Done():
			return
		}
	}
}

// Bar draws the progress on the terminal w ten times a second, until stop is called, which erases
// it. columns returns the current width of the terminal.
func (p *Progress) Bar(w io.Writer, columns func() int, colour bool) (stop func()) {
	stopped, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			p.draw(w, p.line(columns(), colour))
			select {
			case <-tick.C:
			case <-stopped:
				p.draw(w, "")
				return
			}
		}
	}()
	return func() {
		close(stopped)
		<-gone
	}
}

func (p *Progress) draw(w io.Writer, line string) {
	p.drawing.Lock()
	defer p.drawing.Unlock()
	fmt.Fprintf(w, "\r%s\x1b[K", line)
}

// Over returns a writer that passes whole lines on to out while a bar is drawn on the terminal bar.
// It erases the bar before them, and the bar is drawn again below.
func (p *Progress) Over(out, bar io.Writer) io.Writer { return over{p, out, bar} }

type over struct {
	p        *Progress
	out, bar io.Writer
}

// Write erases the bar and writes b to out.
func (o over) Write(b []byte) (int, error) {
	o.p.drawing.Lock()
	defer o.p.drawing.Unlock()
	fmt.Fprint(o.bar, "\r\x1b[K") // the next drawing erases what this fails to
	return o.out.Write(b)
}

const barWidth = 30

// line returns one drawing, at most columns-1 wide so that it never wraps.
func (p *Progress) line(columns int, colour bool) string {
	p.mu.Lock()
	title, name, total, rate, since := p.title, p.name, p.total, p.rate, p.since
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
	if took := time.Since(since).Seconds(); rate != nil && done > 0 && took > 0 {
		tail += "  " + rate(float64(done)/took)
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
