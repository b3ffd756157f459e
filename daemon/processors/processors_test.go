package processors

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"tcpmux/internal/await"
)

func inUse() int { return runtime.GOMAXPROCS(0) }

// TestOthersGetOneMore while a goroutine occupies one.
func TestOthersGetOneMore(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	start(4)
	defer stop(4)
	look(load{used: 0.1}, time.Now())
	if n := inUse(); n != 1 {
		t.Fatalf("little work: got %d, want 1", n)
	}
	first, second := Occupy(), Occupy()
	if n := inUse(); n != 3 {
		t.Errorf("two are occupied: got %d, want 3", n)
	}
	look(load{used: 0.1}, time.Now())
	if n := inUse(); n != 3 {
		t.Errorf("two are still: got %d, want 3", n)
	}
	first()
	second()
	if n := inUse(); n != 1 {
		t.Errorf("none is any more: got %d, want 1", n)
	}
	UseAll()
	defer func() { process.all = false }()
	if n := inUse(); n != 4 {
		t.Errorf("all are wanted: got %d, want the 4 that there are", n)
	}
	Occupy()()
	if look(load{used: 0.1}, time.Now()); inUse() != 4 {
		t.Errorf("all are wanted: got %d, want 4", inUse())
	}
}

// TestMeasure: both times only grow, for threads that last, and the first does while we work.
func TestMeasure(t *testing.T) {
	first := measure()
	await.Until(t, func() bool { return measure().used > first.used+time.Millisecond }, func() { t.Error("got no time used") })
	if all, err := os.ReadFile("/proc/self/schedstat"); err != nil || len(all) == 0 {
		t.Skip("this kernel has no schedstat")
	}
	await.Until(t, func() bool { return denied() > 0 }, func() { t.Error("got no time denied, ever") })
}

// TestAdapt: a process without work uses one, and all that it had once nobody adapts it.
func TestAdapt(t *testing.T) {
	before := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		Adapt(ctx)
		close(ended)
	}()
	await.Until(t, func() bool { return inUse() == 1 }, func() { t.Errorf("got %d, want 1", inUse()) })
	cancel()
	<-ended
	if n := inUse(); n != 3 {
		t.Errorf("at the end: got %d, want 3", n)
	}
	Occupy()()
	if n := inUse(); n != 3 {
		t.Errorf("after the end: got %d, want 3", n)
	}
}
