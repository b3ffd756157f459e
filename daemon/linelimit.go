package daemon

import (
	"log/slog"
	"sync"
	"time"
)

// lineLimit bounds how many log lines somebody else can cause: a token bucket that counts what it refuses. Safe for concurrent use.
type lineLimit struct {
	burst int           // lines at once
	every time.Duration // until there may be one more

	mu      sync.Mutex
	full    time.Time // when a whole burst will be allowed again
	skipped int64     // lines refused since takeSkipped
	told    time.Time // when tell last logged
}

// allow reports whether there may be a line now; otherwise it counts the line as skipped.
func (l *lineLimit) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full.Before(now) {
		l.full = now
	}
	next := l.full.Add(l.every)
	if next.Sub(now) > time.Duration(l.burst)*l.every {
		l.skipped++
		return false
	}
	l.full = next
	return true
}

// takeSkipped returns how many lines were refused since the last call.
func (l *lineLimit) takeSkipped() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.skipped
	l.skipped = 0
	return n
}

// tell logs how many lines were refused, unless it last did so less than interval ago.
func (l *lineLimit) tell(log *slog.Logger, interval time.Duration) {
	l.mu.Lock()
	due := l.skipped > 0 && time.Since(l.told) >= interval
	if due {
		l.told = time.Now()
	}
	l.mu.Unlock()
	if due {
		log.Warn("log lines of sessions left out", "lines", l.takeSkipped())
	}
}

// sessionLines bounds the log lines that clients and their programs cause in all. systemd's journal drops everything that a
// service says beyond 10,000 lines in 30 seconds (journald.conf(5)); this is less than half of it.
func sessionLines() *lineLimit { return &lineLimit{burst: 2000, every: 15 * time.Millisecond} }
