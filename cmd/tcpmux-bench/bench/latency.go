package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is the distribution of a duration in milliseconds, exact to three digits.
type Latency struct {
	// Of names what took that long.
	Of    string  `json:"of"`
	Count int64   `json:"count"`
	Min   float64 `json:"min_ms"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

// recorder records latencies. It is safe for concurrent use, and has several histograms so that
// goroutines seldom wait for each other.
type recorder [8]struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
	_  [48]byte // so that no two share a cache line
}

func newRecorder() *recorder {
	r := new(recorder)
	for i := range r {
		r[i].h = newHistogram()
	}
	return r
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(2*MaxDuration), 3) // nanoseconds
}

func (r *recorder) add(worker int, d time.Duration) {
	part := &r[worker%len(r)]
	part.mu.Lock()
	// It only fails outside of this range.
	_ = part.h.RecordValue(min(max(int64(d), 1), int64(2*MaxDuration)))
	part.mu.Unlock()
}

func (r *recorder) summary(of string) Latency {
	all := newHistogram()
	for i := range r {
		r[i].mu.Lock()
		all.Merge(r[i].h)
		r[i].mu.Unlock()
	}
	l := Latency{Of: of, Count: all.TotalCount()}
	if l.Count == 0 {
		return l
	}
	at := func(percentile float64) float64 { return milliseconds(float64(all.ValueAtPercentile(percentile))) }
	l.Min, l.Mean, l.Max = milliseconds(float64(all.Min())), milliseconds(all.Mean()), milliseconds(float64(all.Max()))
	l.P50, l.P90, l.P99, l.P999 = at(50), at(90), at(99), at(99.9)
	return l
}

func milliseconds(ns float64) float64 { return ns / float64(time.Millisecond) }
