package session

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"tcpmux/config"
)

// recorders returns n recorders that share a spill, over connections in memory.
func recorders(t *testing.T, n int, limit int64) (*Spill, []*Recorder) {
	t.Helper()
	spill := NewSpill()
	spill.Resize(limit)
	all := make([]*Recorder, n)
	for i := range all {
		f := newFixture(t, nil)
		f.env.Spill = spill
		all[i] = NewRecorder(New(f.config))
	}
	return spill, all
}

// TestSpillStaysWithinItsLimit for random requests: what is reserved is what is held, and the one
// that is pressed holds at least half as much as any that was not.
func TestSpillStaysWithinItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1000
		spill, all := recorders(t, 10, limit)
		rnd := rand.New(rand.NewPCG(1, 2))
		held := func() (sum, most int) {
			for _, r := range all {
				sum += r.spilled
				if !r.pressed.Load() {
					most = max(most, r.spilled)
				}
			}
			return sum, most
		}
		for range 20_000 {
			r, n := all[rnd.IntN(len(all))], rnd.IntN(400)
			if rnd.IntN(4) == 0 { // it has given up what it held
				spill.hold(r, 0)
				r.pressed.Store(false)
				continue
			}
			before, _ := held()
			fits := before-r.spilled+n <= limit
			if got := spill.reserve(r, n); got != fits {
				t.Fatalf("%d for %d in place of %d: got %v, want %v", before, n, r.spilled, got, fits)
			}
			if fits {
				r.pressed.Store(false)
			}
			if sum, _ := held(); int64(sum) != spill.Used() || sum > limit {
				t.Fatalf("used: got %d, want the %d that are held and %d at most", spill.Used(), sum, limit)
			}
		}
		for _, r := range all {
			spill.hold(r, 0)
		}
		if spill.Used() != 0 || spill.Holders() != 0 {
			t.Errorf("got %d bytes of %d holders in the end, want none", spill.Used(), spill.Holders())
		}
	})
}

// TestTheLargestHolderIsPressed, and once.
func TestTheLargestHolderIsPressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spill, all := recorders(t, 4, 1000)
		for i, n := range []int{100, 700, 150} {
			if !spill.reserve(all[i], n) {
				t.Fatalf("%d: no room", n)
			}
		}
		pressed := func() (which []int) {
			for i, r := range all {
				if r.pressed.Load() {
					which = append(which, i)
				}
			}
			return which
		}
		if spill.reserve(all[3], 51) {
			t.Error("got room beyond the limit")
		}
		if got := pressed(); len(got) != 1 || got[0] != 1 {
			t.Errorf("pressed: got %v, want the one that holds 700", got)
		}
		all[1].pressed.Store(false)
		if spill.reserve(all[3], 51) {
			t.Error("got room beyond the limit")
		}
		if got := pressed(); len(got) != 1 || got[0] != 2 {
			t.Errorf("pressed next: got %v, want the one that holds 150", got)
		}
		if !spill.reserve(all[3], 50) {
			t.Error("got no room up to the limit")
		}
		spill.Resize(10)
		if spill.reserve(all[3], 50) {
			t.Error("got room beyond the limit that is new")
		}
	})
}

// TestWhoHoldsMostRecordsItAsAPiece when another asks for room, and is whole again for who puts the
// pieces together.
func TestWhoHoldsMostRecordsItAsAPiece(t *testing.T) {
	const half = moveSize + 100
	bubble(t, func(l *config.Listener) { l.MaxMessage = 1 << 20 }, func(f *fixture) {
		f.env.Spill.Resize(half + half/2)
		f.start()
		hog := strings.Repeat("h", half)
		f.send(hog)
		f.unread(0)
		other := newFixture(t, nil)
		other.config.Env = f.env
		r := NewRecorder(New(other.config))
		if f.env.Spill.reserve(r, half) {
			t.Error("got room beyond the limit")
		}
		synctest.Wait()
		// A byte is left to tell how the message ended.
		f.recorded("open", "[cut]: "+hog[:half-1])
		if !f.env.Spill.reserve(r, half) {
			t.Error("got no room after the other has given up its own")
		}
		f.send("rest\n")
		f.recorded("open", "[cut]: "+hog[:half-1], "[cut]: hrest")
		f.env.Spill.hold(r, 0)
	})
}

// TestWithoutMemoryLongMessagesAreInPieces, and short ones wait in the socket.
func TestWithoutMemoryLongMessagesAreInPieces(t *testing.T) {
	bubble(t, func(l *config.Listener) { l.MaxMessage = 1 << 20 }, func(f *fixture) {
		f.env.Spill.Resize(0)
		f.start()
		short := strings.Repeat("s", moveSize/2)
		f.send(short, short+"\n")
		f.recorded("open", ": "+short+short)
		long := strings.Repeat("l", 2*moveSize)
		f.send(long)
		f.recorded("open", ": "+short+short, "[cut]: "+long[1:])
		f.send("\n")
		f.recorded("open", ": "+short+short, "[cut]: "+long[1:], "[cut]: l")
		if got := f.env.Spill.Used(); got != 0 {
			t.Errorf("used: got %d bytes, want none", got)
		}
	})
}
