package counts

import (
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
)

func TestAHistogramCountsByPowersOfTwo(t *testing.T) {
	for _, c := range []struct{ value, most int64 }{
		{-5, 1}, {0, 1}, {1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {1 << 20, 1 << 20}, {1<<20 + 1, 1 << 21},
		{1 << 38, 1 << 38}, {1<<38 + 1, math.MaxInt64}, {math.MaxInt64, math.MaxInt64},
	} {
		var h Histogram
		h.Observe(c.value)
		got := h.Snapshot()
		last := got.Buckets[len(got.Buckets)-1]
		if last != (Bucket{c.most, 1}) || got.Count != 1 || got.Sum != max(c.value, 0) {
			t.Errorf("%d: got %+v of %d that sum up to %d, want one in the bucket up to %d",
				c.value, last, got.Count, got.Sum, c.most)
		}
	}
}

func TestAnEmptyHistogramHasNoBuckets(t *testing.T) {
	var h Histogram
	if got := h.Snapshot(); len(got.Buckets) != 0 || got.Count != 0 || got.Sum != 0 {
		t.Errorf("got %+v, want nothing", got)
	}
}

// TestSizesAreAddedAsIfEachWasObserved, and begin anew.
func TestSizesAreAddedAsIfEachWasObserved(t *testing.T) {
	var l Listener
	var want Histogram
	var s Sizes
	for round := range 2 {
		for size := 1; size < 5000; size += 7 {
			s.Observe(size + round)
			want.Observe(int64(size + round))
		}
		l.Measured(&s)
	}
	got, w := l.Size.Snapshot(), want.Snapshot()
	if !slices.Equal(got.Buckets, w.Buckets) || got.Sum != w.Sum || got.Count != w.Count {
		t.Errorf("got %+v, want %+v", got, w)
	}
}

func TestFlagsAreCountedByTheirWords(t *testing.T) {
	var l Listener
	var s Sizes
	for _, flag := range []string{"", "cut", "eof", "cut", "timeout", "malformed", ""} {
		s.Observe(1)
		s.ObserveFlag(flag)
	}
	l.Measured(&s)
	l.Measured(&s)
	want := map[string]int64{"cut": 2, "eof": 1, "timeout": 1, "malformed": 1}
	if got := l.Flagged.Snapshot(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestANilListenerCountsNothing(t *testing.T) {
	var l *Listener
	s := Sizes{}
	s.Observe(3)
	s.ObserveFlag("cut")
	l.Recorded(1, 2, 3)
	l.Measured(&s)
	l.Acknowledged(1)
	l.Ended("eof")
	l.SilentVisit()
	if s != (Sizes{}) {
		t.Errorf("got %+v, want it to begin anew", s)
	}
}

// TestCountsAreSafeForConcurrentUse: the race detector reports what is not.
func TestCountsAreSafeForConcurrentUse(t *testing.T) {
	var l Listener
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				l.Recorded(2, 10, 5)
				l.Ended("eof")
				_ = l.Closed.Snapshot()
				_ = l.Delay.Snapshot()
			}
		})
	}
	all.Wait()
	if got := [...]int64{l.Records.Load(), l.Bytes.Load(), l.Delay.Snapshot().Count, l.Closed.Snapshot()["eof"]}; got != [...]int64{8000, 40000, 4000, 4000} {
		t.Errorf("got %v, want [8000 40000 4000 4000]", got)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for i := int64(0); b.Loop(); i++ {
		h.Observe(i & 4095)
	}
}

func BenchmarkSizes(b *testing.B) {
	var s Sizes
	for i := 0; b.Loop(); i++ {
		s.Observe(i&4095 + 1)
	}
}

func BenchmarkRecorded(b *testing.B) {
	var l Listener
	var s Sizes
	for b.Loop() {
		s.Observe(40)
		l.Measured(&s)
		l.Recorded(1, 40, 30000)
	}
}

// BenchmarkRecordedAtOnce is what a batch costs where sessions of one listener count on as many
// cores as -cpu says.
func BenchmarkRecordedAtOnce(b *testing.B) {
	var l Listener
	b.RunParallel(func(pb *testing.PB) {
		var s Sizes
		for pb.Next() {
			s.Observe(40)
			l.Measured(&s)
			l.Recorded(1, 40, 30000)
		}
	})
}
