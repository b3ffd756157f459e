package processors

import (
	"math"
	"time"
)

const (
	// full is the share of its processors that a process uses when it could do with more.
	full = 0.9
	// worth is the share of one more processor that must be used for it to be kept. A process
	// whose peers are on the same machine may fill one processor and get nothing from a second
	// one, except for the cost of both.
	worth = 0.3
	// minPause is how long a processor that was not worth it is not tried again, and maxPause
	// how long after many such trials.
	minPause = time.Second
	maxPause = 16 * time.Second
)

// load is how many processors were used lately, on average, and how many more could have been, had
// other processes not had them.
type load struct{ used, denied float64 }

// wanted returns how many processors the process wants. On a machine that is merely busy, what it is
// denied is the cost of sharing, and more threads do not change it. Where it is denied most of what
// it wants, each thread has a share of its own.
func (l load) wanted() float64 {
	if l.denied > l.used {
		return l.used + l.denied
	}
	return l.used
}

// level is how many processors a process uses.
type level struct {
	most, n int
	trial   trial
	pause   time.Duration // before the next trial, once one has failed
	until   time.Time     // no processor is tried before
}

// trial is what was before n was raised just now. The zero value is that it was not.
type trial struct {
	n    int
	used float64
}

// failed reports whether n processors, of which used are used, are not worth it.
func (t trial) failed(n int, used float64) bool {
	return t.n > 0 && used < t.used*(1+worth*float64(n-t.n)/float64(t.n))
}

// adapt adapts n to the load.
func (l *level) adapt(now load, at time.Time) {
	wanted, last := now.wanted(), l.trial
	l.trial = trial{}
	needed := max(1, int(math.Ceil((wanted-worth)/full)))
	switch {
	case last.failed(l.n, now.used):
		l.n = last.n
		l.pause = min(max(2*l.pause, minPause), maxPause)
		l.until = at.Add(l.pause)
	case needed < l.n:
		l.n = needed
	case wanted > full*float64(l.n) && l.n < l.most && !at.Before(l.until):
		l.trial = trial{l.n, now.used}
		l.n = min(l.n+max(1, l.n/2), l.most)
	}
	if last.n > 0 && l.n > last.n {
		l.pause = 0 // it was worth it
	}
}
