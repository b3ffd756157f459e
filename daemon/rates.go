package daemon

import (
	"slices"
	"time"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/counts"
)

// rateWindow is over how many seconds rates are averages.
const rateWindow = 10

// rates remembers what was counted in the last seconds. The zero value remembers nothing.
type rates struct {
	samples []sample // the oldest first
}

// sample is what was counted at one time.
type sample struct {
	at     time.Time
	counts map[string]api.Rates // as totals, by listener
}

// note remembers what is counted now, once a second.
func (r *rates) note(now time.Time, all map[string]*counts.Listener) {
	if n := len(r.samples); n > 0 && now.Sub(r.samples[n-1].at) < statusInterval/2 {
		return
	}
	s := sample{now, make(map[string]api.Rates, len(all))}
	for name, n := range all {
		s.counts[name] = api.Rates{
			Visits: float64(n.Visits.Load()), Records: float64(n.Records.Load()), Bytes: float64(n.Bytes.Load()),
		}
	}
	if r.samples = append(r.samples, s); len(r.samples) > rateWindow+1 {
		r.samples = slices.Delete(r.samples, 0, 1)
	}
}

// of returns the averages of a listener.
func (r *rates) of(name string) api.Rates {
	if len(r.samples) < 2 {
		return api.Rates{}
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	a, b := first.counts[name], last.counts[name]
	if seconds <= 0 {
		return api.Rates{}
	}
	return api.Rates{Visits: (b.Visits - a.Visits) / seconds, Records: (b.Records - a.Records) / seconds, Bytes: (b.Bytes - a.Bytes) / seconds}
}
