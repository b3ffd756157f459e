package logging

import (
	"log/slog"
	"sync"
	"time"
)

// SummaryInterval is the shortest pause between two lines that sum up visits without a line of
// their own: refused clients, and clients that sent no data.
const SummaryInterval = time.Minute

// Visits counts clients that sent no data, such as the health checks of a load balancer. The zero
// value is ready to use. It is safe for concurrent use.
type Visits struct {
	mu       sync.Mutex
	total    int64
	count    int64     // since the last summary
	last     string    // the address of the last client
	since    time.Time // when the first client was counted
	reported time.Time // when Report last logged
}

// Add counts a client. remote is its address.
func (v *Visits) Add(remote string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count == 0 {
		v.since = time.Now()
	}
	v.count++
	v.total++
	v.last = remote
}

// Count returns how many clients were counted.
func (v *Visits) Count() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.total
}

// Report logs one line that sums up the clients since the last one, unless it last logged less than
// interval ago.
func (v *Visits) Report(log *slog.Logger, interval time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count == 0 || time.Since(v.reported) < interval {
		return
	}
	log.Info("visits without data",
		"clients", v.count, "last", v.last, "duration", time.Since(v.since).Round(time.Millisecond))
	v.count, v.reported = 0, time.Now()
}
