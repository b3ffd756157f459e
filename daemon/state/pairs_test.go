package state

import (
	"cmp"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

func newPairs(t testing.TB, entries int) *Pairs {
	t.Helper()
	f, err := NewPairs(entries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// nextPairs opens a copy of the file as the next process opens the file, had the first been killed
// now.
func nextPairs(t testing.TB, f *Pairs) *Pairs {
	t.Helper()
	fd, err := createMemory("copy")
	if err == nil {
		err = cmp.Or(unix.Ftruncate(fd, int64(len(f.mem))), writeAll(fd, f.mem), sealSize(fd))
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := OpenPairs(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// TestPairs: two connections are a pair only if each has noted the other.
func TestPairs(t *testing.T) {
	for _, c := range []struct {
		name         string
		client, up   Half
		sides        [2]Side
		joined, want bool
	}{
		{"both noted", Half{Mate: 2}, Half{Mate: 1}, [2]Side{Client, Upstream}, false, true},
		{"neither", Half{}, Half{}, [2]Side{Client, Upstream}, false, false},
		{"the client alone", Half{Mate: 2}, Half{}, [2]Side{Client, Upstream}, false, false},
		{"the upstream alone", Half{}, Half{Mate: 1}, [2]Side{Client, Upstream}, false, false},
		{"crossed: the upstream is another's", Half{Mate: 2}, Half{Mate: 3}, [2]Side{Client, Upstream}, false, false},
		{"crossed: the client is another's", Half{Mate: 3}, Half{Mate: 1}, [2]Side{Client, Upstream}, false, false},
		{"each its own", Half{Mate: 1}, Half{Mate: 2}, [2]Side{Client, Upstream}, false, false},
		{"two clients", Half{Mate: 2}, Half{Mate: 1}, [2]Side{Client, Client}, false, false},
		{"two upstreams", Half{Mate: 2}, Half{Mate: 1}, [2]Side{Upstream, Upstream}, false, false},
		{"a side that is damaged", Half{Mate: 2}, Half{Mate: 1}, [2]Side{Client, 77}, false, false},
		{"joined again", Half{Mate: 2}, Half{Mate: 1}, [2]Side{Client, Upstream}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newPairs(t, 2)
			client, up := f.Take(1, c.sides[0]), f.Take(2, c.sides[1])
			client.Leave(c.client)
			up.Leave(c.up)
			if c.joined {
				client.Join()
			}
			g := nextPairs(t, f)
			if got := Mates(g.Find(1), g.Find(2)); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
	if Mates(nil, nil) {
		t.Error("nothing is a pair")
	}
}

// TestAKilledProcessLeavesNoHalfPair: at whatever write a process is killed, two connections are a
// pair with all that was noted, or none.
func TestAKilledProcessLeavesNoHalfPair(t *testing.T) {
	a, b := Half{Mate: 2, Moved: 7, Ended: true}, Half{Mate: 1, Moved: 9}
	for n := range 40 {
		f := newPairs(t, 2)
		client, up := f.Take(1, Client), f.Take(2, Upstream)
		client.Leave(Half{Mate: 2, Moved: 1})
		up.Leave(Half{Mate: 1, Moved: 2, Ended: true})
		killAt(n, func() {
			client.Join()
			up.Join()
			client.Leave(a)
			up.Leave(b)
		})
		g := nextPairs(t, f)
		c, u := g.Find(1), g.Find(2)
		if !Mates(c, u) {
			continue
		}
		before := n == 0 && c.Half().Moved == 1 && u.Half().Moved == 2
		if after := c.Half() == a && u.Half() == b; !before && !after {
			t.Errorf("killed at write %d: got %+v and %+v", n, c.Half(), u.Half())
		}
	}
}

// TestDamagedPairsAreNoneOrWhole: whatever is in the file, nothing panics and a pair is of two.
func TestDamagedPairsAreNoneOrWhole(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f := newPairs(t, 4)
		for cookie, side := range map[uint64]Side{1: Client, 2: Upstream, 3: Client, 4: Upstream} {
			f.Take(cookie, side).Leave(Half{Mate: cookie ^ 3})
		}
		for range 1 + rnd.IntN(6) {
			f.mem[pageSize+rnd.IntN(4*pairEntrySize)] = byte(rnd.IntN(6))
		}
		g := nextPairs(t, f)
		for a := range uint64(6) {
			for b := range uint64(6) {
				c, u := g.Find(a), g.Find(b)
				if Mates(c, u) && (c.Half().Mate != b || u.Half().Mate != a || a == b) {
					t.Errorf("%d and %d are a pair", a, b)
				}
				c.Free()
				u.Free()
				g = nextPairs(t, f)
			}
		}
		if _, err := OpenPairs(-1); err == nil {
			t.Error("a file that is none: got no error")
		}
	}
}
