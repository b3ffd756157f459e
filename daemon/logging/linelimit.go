package logging

import (
	"log/slog"
	"sync"
	"time"
)

// LineLimit bounds how many log lines others can cause: a token bucket that counts the lines it
// refuses. Create one with NewLineLimit. It is safe for concurrent use.
type LineLimit struct {
	burst int           // lines at once
	every time.Duration // the pause until one more line is allowed

	mu       sync.Mutex
	full     time.Time // when a whole burst will be allowed again
	skipped  int64     // lines refused since TakeSkipped
	reported time.Time // when Report last logged
}

// NewLineLimit returns a limit that allows burst lines at once. Each time every has passed, it
// allows one more.
func NewLineLimit(burst int, every time.Duration) *LineLimit {
	return &LineLimit{burst: burst, every: every}
}

// SessionLines returns the limit of the log lines that all clients and their programs cause
// together. systemd's journal drops all messages of a service beyond 10,000 in 30 seconds
// (RateLimitBurst=, journald.conf(5)); this limit is less than half of that.
func SessionLines() *LineLimit { return NewLineLimit(2000, 15*time.Millisecond) }

// Allow reports whether a line is allowed now. Otherwise it counts the line as skipped.
func (l *LineLimit) Allow(now time.Time) bool {
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

// TakeSkipped returns how many lines were refused since the last call.
func (l *LineLimit) TakeSkipped() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.skipped
	l.skipped = 0
	return n
}

// Report logs how many lines were refused, unless it last logged less than interval ago.
func (l *LineLimit) Report(log *slog.Logger, interval time.Duration) {
	l.mu.Lock()
	due := l.skipped > 0 && time.Since(l.reported) >= interval
	if due {
		l.reported = time.Now()
	}
	l.mu.Unlock()
	if due {
		log.Warn("log lines of sessions left out", "lines", l.TakeSkipped())
	}
}
