package state

import (
	"cmp"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/internal/fuzzing"
)

func newUnix(t testing.TB, entries int) *Unix {
	t.Helper()
	f, err := NewUnix(entries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// nextUnix opens a copy of the file as the next process opens the file, had the first been killed
// now.
func nextUnix(t testing.TB, f *Unix) *Unix {
	t.Helper()
	fd, err := createMemory("copy")
	if err == nil {
		err = cmp.Or(unix.Ftruncate(fd, int64(len(f.mem))), writeAll(fd, f.mem), sealSize(fd))
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := OpenUnix(fd)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// endedHere is what a store panics with when the process is killed there.
type endedHere struct{}

// killAt runs f, and has it killed before its nth store.
func killAt(n int, f func()) {
	before := store
	defer func() {
		store = before
		if r := recover(); r != nil && r != any(endedHere{}) {
			panic(r)
		}
	}()
	store = func(to *atomic.Uint64, v uint64) {
		if n--; n < 0 {
			panic(endedHere{})
		}
		to.Store(v)
	}
	f()
}

// socket is what a kernel has of one: truth is how much was taken.
type socket struct {
	truth int64
	ahead int // SO_PEEK_OFF
}

// take takes n bytes.
func (s *socket) take(n int) {
	s.truth += int64(n)
	s.ahead = max(s.ahead-n, 0)
}

// TestAKillAtAnyWriteOfAUnixEntry: whenever a process is killed, and the next ones while they find
// out, it is known exactly how much was taken from the socket.
func TestAKillAtAnyWriteOfAUnixEntry(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	f := newUnix(t, 3)
	f.Take(1)
	e := f.Take(7)
	var s socket
	looks, looking := 0, false
	look := func() {
		if looking || t.Failed() {
			return
		}
		looking = true
		defer func() { looking = false }()
		looks++
		g := nextUnix(t, f)
		for kill := range 3 { // each process that follows dies a write later
			killAt(kill, func() { g.Find(7).Settle(s.ahead) })
			next := nextUnix(t, g)
			_ = g.Close()
			g = next
		}
		defer g.Close()
		// Once that is noted, SO_PEEK_OFF tells nothing any more.
		found := g.Find(7)
		if got := found.Settle(s.ahead); !found.Sound() || got != s.truth {
			t.Errorf("got %d bytes taken, want %d", got, s.truth)
		}
		h := nextUnix(t, g)
		defer h.Close()
		if got := h.Find(7).Settle(random.IntN(100) - 1); got != s.truth {
			t.Errorf("with another SO_PEEK_OFF: got %d bytes taken, want %d", got, s.truth)
		}
	}
	store = func(to *atomic.Uint64, v uint64) {
		look()
		to.Store(v)
		look()
	}
	defer func() { store = (*atomic.Uint64).Store }()
	for range 100 {
		seen := 1 + random.IntN(1000)
		s.ahead = seen // a peek
		look()
		n := 1 + random.IntN(seen)
		e.Taking(n, s.ahead)
		look()
		got := 0
		switch random.IntN(4) {
		case 0: // it was not killed, and the kernel gave nothing
		case 1: // a part
			got = random.IntN(n)
		default:
			got = n
		}
		s.take(got)
		look()
		if random.IntN(8) == 0 { // the process is killed, and the next goes on
			f = nextUnix(t, f)
			defer f.Close()
			e = f.Find(7)
			e.Settle(s.ahead)
		} else {
			e.Taken(got)
		}
		look()
	}
	if looks < 700 {
		t.Errorf("got %d looks, want one around each write", looks)
	}
}

func TestTheNextProcessKnowsAConnectionOfAUnixSocket(t *testing.T) {
	f := newUnix(t, 2)
	e := f.Take(7)
	if f.Take(8) == nil || f.Take(9) != nil {
		t.Fatal("want two entries and no third")
	}
	if e.Sent() {
		t.Error("got something sent, want nothing yet")
	}
	e.Taking(5, 5)
	e.Taken(5)
	e.SetSent()
	g := nextUnix(t, f)
	defer g.Close()
	found := g.Find(7)
	if got := found.Settle(0); got != 5 || !found.Sent() {
		t.Errorf("got %d bytes taken and sent %v, want 5 and true", got, found.Sent())
	}
	if g.Find(7) != nil || g.Find(9) != nil {
		t.Error("found a second time, or one that nobody has left")
	}
	g.Forget() // that of 8
	found.Free()
	for _, cookie := range []uint64{10, 11} {
		if e := g.Take(cookie); e == nil || e.Sent() || e.Settle(0) != 0 {
			t.Errorf("got %+v, want a fresh entry", e)
		}
	}
}

func TestNoUnixEntry(t *testing.T) {
	var e *UnixEntry
	e.Taking(1, 1)
	e.Taken(1)
	e.SetSent()
	e.Free()
	var f *Unix
	if f.Forget(); e.Sound() || e.Sent() || e.Settle(3) != 0 || f.Take(1) != nil || f.Find(1) != nil || f.Close() != nil {
		t.Error("without an entry, or a file: got something")
	}
}

// FuzzUnixFile: whatever is in a file, nothing that is done with it crashes.
func FuzzUnixFile(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	valid := newUnix(f, 4)
	e := valid.Take(7)
	e.Taking(10, 20)
	e.SetSent()
	valid.Take(8)
	f.Add(valid.mem[:40], valid.mem[pageSize:], int64(7), int64(15))
	f.Add(valid.mem[:40], []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, header, entries []byte, cookie, ahead int64) {
		damaged := newUnix(t, 4)
		copy(damaged.mem[:pageSize], header)
		copy(damaged.mem[pageSize:], entries)
		fd, err := unix.Dup(damaged.fd)
		if err != nil {
			t.Fatal(err)
		}
		g, err := OpenUnix(fd)
		if err != nil {
			return
		}
		defer g.Close()
		if e := g.Find(uint64(cookie)); e.Sound() {
			if got := e.Settle(int(ahead)); got < 0 {
				t.Errorf("got %d bytes taken", got)
			}
			e.Taking(1, 1)
			e.Taken(1)
			e.Free()
		}
		g.Forget()
	})
}
