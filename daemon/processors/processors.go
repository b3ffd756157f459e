// Package processors has the process use no more processors than its work fills. While one is free,
// Go's scheduler wakes a thread for each event, which finds little to do and sleeps again: that
// costs a busy daemon a fifth of its processor, and each client some of its time. So work that one
// processor can do is done by one.
package processors

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	// busyInterval is how often a process that has work looks at how much that is, and
	// idleInterval how often one that has none.
	busyInterval = 100 * time.Millisecond
	idleInterval = time.Second
	// idleUse is how many processors are used by a process that has no work.
	idleUse = 0.05
)

// process is the level of this process. It is the only thing of its kind, as GOMAXPROCS is.
var process struct {
	mu       sync.Mutex
	adapting bool
	level    level
	all      bool // as UseAll has said
	occupied int  // by Occupy
}

// Adapt adapts the number of processors in use (runtime.GOMAXPROCS) to the work, until ctx is done.
// Then there are as many as before, and never more. It must not run twice at a time.
func Adapt(ctx context.Context) {
	most := runtime.GOMAXPROCS(0)
	start(most)
	defer stop(most)
	last, began := measure(), time.Now()
	for wait := busyInterval; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		t, now := measure(), time.Now()
		took := now.Sub(began)
		recent := load{share(t.used-last.used, took), share(t.denied-last.denied, took)}
		look(recent, now)
		last, began = t, now
		if wait = busyInterval; recent.used < idleUse && recent.denied < idleUse {
			wait = idleInterval
		}
	}
}

// share returns how many processors a time is of the time that has passed. What ended threads had
// is missing in later sums, so it may be below 0, which is none.
func share(t, passed time.Duration) float64 { return max(0, float64(t)/float64(passed)) }

// UseAll has the process use all processors from now on: some of its work blocks threads, and does
// not show how many it needs. What blocks one takes a processor along until Go notices.
func UseAll() {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.all = true
	apply()
}

func allInUse() bool {
	process.mu.Lock()
	defer process.mu.Unlock()
	return process.all
}

// Occupy notes that the caller takes a processor from now on until it calls release: it computes for
// long, or is in a system call that takes long, in which case Go needs up to 10 ms to notice. The
// others get one more for that time.
func Occupy() (release func()) {
	occupy(1)
	return func() { occupy(-1) }
}

func occupy(n int) {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.occupied += n
	apply()
}

func start(most int) {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.adapting, process.level = true, level{most: most, n: 1}
	apply()
}

func stop(most int) {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.adapting = false
	runtime.GOMAXPROCS(most)
}

func look(recent load, now time.Time) {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.level.adapt(recent, now)
	apply()
}

// apply has the runtime use what is wanted. To ask it is cheap; to change it stops all goroutines
// for some microseconds.
func apply() {
	if !process.adapting {
		return
	}
	p := &process
	n := min(p.level.n+p.occupied, p.level.most)
	if p.all {
		n = p.level.most
	}
	if n != runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(n)
	}
}
