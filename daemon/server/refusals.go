package server

import (
	"log/slog"
	"sync"
	"time"

	"tcpmux/daemon/admission"
	"tcpmux/daemon/sockaddr"
)

// refusals counts refused clients, by verdict. The zero value is ready to use. It is safe for
// concurrent use.
type refusals struct {
	mu       sync.Mutex
	all      [admission.Verdicts]int64
	reported [admission.Verdicts]int64 // of all
	last     sockaddr.Peer
	when     time.Time // of the last report
	since    time.Time // when the first was counted that is not reported
}

// add counts a client.
func (r *refusals) add(v admission.Verdict, peer sockaddr.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.since = time.Now()
	}
	r.all[v]++
	r.last = peer
}

// countRefusal counts a client of b that was refused.
func (s *Server) countRefusal(b *Binding, v admission.Verdict, peer sockaddr.Peer) {
	s.refusals.add(v, peer)
	b.occupancy.counts.Refused.Add(v.String(), 1)
}

// report logs one line that sums up the clients since the last one, unless it last logged less than
// interval ago.
func (r *refusals) report(log *slog.Logger, interval time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() || time.Since(r.when) < interval {
		return
	}
	var attrs []any
	for v := range r.all {
		if n := r.all[v] - r.reported[v]; n > 0 {
			attrs = append(attrs, admission.Verdict(v).String(), n)
		}
	}
	log.Warn("clients refused", append(attrs,
		"last", r.last.String(), "duration", time.Since(r.since).Round(time.Millisecond))...)
	r.reported, r.when, r.since = r.all, time.Now(), time.Time{}
}

// count returns how many clients were refused.
func (r *refusals) count() (n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.all {
		n += v
	}
	return n
}
