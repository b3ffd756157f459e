package processors

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// run has a level adapt, a step every busyInterval, to the load of a process that has n processors.
func run(l *level, steps int, of func(n int) load) (at map[int]int) {
	at = map[int]int{}
	now := time.Unix(0, 0)
	for range steps {
		at[l.n]++
		now = now.Add(busyInterval)
		l.adapt(of(l.n), now)
	}
	return at
}

// TestASecondProcessorThatIsNotWorthItIsRare: clients on the same machine take what is left, so that
// a daemon that fills one processor gets next to nothing out of two.
func TestASecondProcessorThatIsNotWorthItIsRare(t *testing.T) {
	l := level{most: 2, n: 1}
	at := run(&l, 600, func(n int) load { return load{min(float64(n)*0.99, 1.04), 0.3 * float64(n)} })
	if at[2] < 3 || at[2] > 15 {
		t.Errorf("in a minute: got %d steps of 600 with two processors, want 3 to 15: trials", at[2])
	}
}

// TestWorkThatFillsThemGetsAll: within two seconds, and for as long as it lasts.
func TestWorkThatFillsThemGetsAll(t *testing.T) {
	for most := 1; most <= 64; most *= 2 {
		l := level{most: most, n: 1}
		full := func(n int) load { return load{used: 0.97 * float64(n)} }
		run(&l, 20, full)
		if at := run(&l, 100, full); at[most] != 100 {
			t.Errorf("of %d: got %v, want all of them all the time", most, at)
		}
		l = level{most: most, n: 1}
		if at := run(&l, 100, func(int) load { return load{used: 0.5} }); at[1] != 100 {
			t.Errorf("of %d, half of one is used: got %v, want one all the time", most, at)
		}
	}
}

// TestAProcessThatIsDeniedMostGetsMore: where many want the same processors, each thread has a
// share, and a process with one thread has the smallest.
func TestAProcessThatIsDeniedMostGetsMore(t *testing.T) {
	l := level{most: 2, n: 1}
	share := func(n int) load { return load{0.1 * float64(n), 0.9 * float64(n)} }
	run(&l, 2, share)
	if at := run(&l, 100, share); at[2] != 100 {
		t.Errorf("got %v, want two all the time", at)
	}
	if l.adapt(load{0.1, 0.05}, time.Unix(1000, 0)); l.n != 1 {
		t.Errorf("once it is denied little: got %d, want 1", l.n)
	}
}

// TestWorkThatEndsGivesThemBack: at once.
func TestWorkThatEndsGivesThemBack(t *testing.T) {
	l := level{most: 16, n: 16}
	l.adapt(load{used: 0.01}, time.Unix(1, 0))
	if l.n != 1 {
		t.Errorf("got %d, want 1", l.n)
	}
}

// TestTrialsThatFailBecomeRare, and one that succeeds makes the next one possible at once.
func TestTrialsThatFailBecomeRare(t *testing.T) {
	l := level{most: 2, n: 1}
	now := time.Unix(0, 0)
	fails := func() {
		now = l.until
		l.adapt(load{used: 0.99}, now)
		if l.n != 2 {
			t.Fatalf("after %v: got no trial", l.pause)
		}
		l.adapt(load{used: 1.1}, now.Add(busyInterval))
		if l.n != 1 {
			t.Fatal("got two processors of which one is not worth it")
		}
		l.adapt(load{used: 0.99}, l.until.Add(-1))
		if l.n != 1 {
			t.Fatalf("got a trial within %v", l.pause)
		}
	}
	for _, want := range []time.Duration{minPause, 2 * minPause, 4 * minPause, 8 * minPause, maxPause, maxPause} {
		if fails(); l.pause != want {
			t.Errorf("got a pause of %v, want %v", l.pause, want)
		}
	}
	now = l.until
	l.adapt(load{used: 0.99}, now)
	l.adapt(load{used: 1.9}, now)
	l.adapt(load{used: 0.1}, now)
	if l.adapt(load{used: 0.99}, now); l.n != 2 {
		t.Error("a trial that succeeded: got none soon after, want one")
	}
}

// TestLevelsStayWithinBounds, whatever is used.
func TestLevelsStayWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := level{most: rapid.IntRange(1, 100).Draw(t, "most"), n: 1}
		now := time.Unix(0, 0)
		for _, use := range rapid.SliceOf(rapid.Float64Range(-1, 200)).Draw(t, "uses") {
			now = now.Add(busyInterval)
			l.adapt(load{use, rapid.Float64Range(0, 200).Draw(t, "denied")}, now)
			if l.n < 1 || l.n > l.most {
				t.Fatalf("got %d of %d", l.n, l.most)
			}
		}
	})
}
