package daemon

import (
	"log/slog"
	"sync"
	"time"
)

// summaryInterval is how often, at the most, visits that have no log line of their own are summed up in one: those that were
// refused, and those without data.
const summaryInterval = time.Minute

// silent counts visits without data, such as a load balancer's health checks. Safe for concurrent use.
type silent struct {
	mu    sync.Mutex
	count int64     // since the last summary
	last  string    // the address of the last of them
	since time.Time // the first of them
	told  time.Time // the last summary
}

func (s *silent) add(remote string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		s.since = time.Now()
	}
	s.count++
	s.last = remote
}

// tell sums up in one line the visits since the last time, unless that was short of an interval ago.
func (s *silent) tell(log *slog.Logger, interval time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 || time.Since(s.told) < interval {
		return
	}
	log.Info("visits without data", "clients", s.count, "last", s.last, "duration", time.Since(s.since).Round(time.Millisecond))
	s.count, s.told = 0, time.Now()
}
