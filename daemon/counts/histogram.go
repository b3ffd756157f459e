package counts

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// buckets is how many buckets a histogram has. The last is without a bound: for values above 2^38,
// which are four minutes in nanoseconds, or 256 GiB.
const buckets = 40

// Histogram counts values by their size, in buckets whose bounds are the powers of two.
type Histogram struct {
	sum atomic.Int64
	n   [buckets]atomic.Int64
}

// Bucket is one bucket of a histogram.
type Bucket struct {
	Most  int64 // the largest value that it counts; math.MaxInt64 for the last one
	Count int64 // values that are in this bucket and in no smaller one
}

// Snapshot is what a histogram has counted. Values that are counted meanwhile may be in Sum only.
type Snapshot struct {
	Buckets []Bucket // from the smallest; those above the largest value are left out
	Count   int64    // of all values
	Sum     int64    // likewise
}

// bucketOf returns the bucket of a value.
func bucketOf(v int64) int {
	if v <= 1 {
		return 0
	}
	return min(bits.Len64(uint64(v-1)), buckets-1)
}

// Observe counts a value. One that is negative counts as 0.
func (h *Histogram) Observe(v int64) {
	v = max(v, 0)
	h.sum.Add(v)
	h.n[bucketOf(v)].Add(1)
}

// add counts what a session has measured.
func (h *Histogram) add(s *Sizes) {
	h.sum.Add(s.sum)
	for used := s.used; used != 0; used &= used - 1 {
		i := bits.TrailingZeros64(used)
		h.n[min(i, buckets-1)].Add(int64(s.n[i]))
	}
}

// Snapshot returns what is counted so far.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: h.sum.Load()}
	for i := range h.n {
		n := h.n[i].Load()
		s.Buckets = append(s.Buckets, Bucket{Most: mostOf(i), Count: n})
		s.Count += n
	}
	for last := len(s.Buckets) - 1; last >= 0 && s.Buckets[last].Count == 0; last-- {
		s.Buckets = s.Buckets[:last]
	}
	return s
}

// mostOf returns the largest value of a bucket.
func mostOf(i int) int64 {
	if i == buckets-1 {
		return math.MaxInt64
	}
	return 1 << i
}

// flags are the flags of messages that are not whole.
var flags = [...]string{"eof", "cut", "timeout", "malformed"}

// Sizes gathers the sizes and the flags of messages, for Listener.Measured. It is for one goroutine
// at a time: a message costs no more than a few additions.
type Sizes struct {
	used    uint64 // has a bit for each of n that is not 0
	sum     int64
	n       [64]uint32 // by the bucket; those above the last one are of that
	broken  bool       // one was not whole
	flagged [len(flags)]uint32
}

// Observe notes the size of a message, which is at least 1. It is short enough to be inlined.
func (s *Sizes) Observe(size int) {
	i := bits.Len64(uint64(size-1)) & 63
	s.used |= 1 << i
	s.n[i]++
	s.sum += int64(size)
}

// ObserveFlag notes the flag of a message that is not whole. It is not inlined: its caller, on top
// of which the encoder works, is to need no more of the stack.
//
//go:noinline
func (s *Sizes) ObserveFlag(flag string) {
	for i, f := range flags {
		if f == flag {
			s.broken = true
			s.flagged[i]++
		}
	}
}

// Reset forgets what was observed.
func (s *Sizes) Reset() {
	for ; s.used != 0; s.used &= s.used - 1 {
		s.n[bits.TrailingZeros64(s.used)] = 0
	}
	s.sum = 0
	if s.broken {
		s.broken, s.flagged = false, [len(flags)]uint32{}
	}
}
