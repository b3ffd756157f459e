package state

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// next opens the file as the next process does, after the first was killed.
func next(t *testing.T, f *File) *File {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(f.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func newFile(t *testing.T, slots int) *File {
	t.Helper()
	f, err := New(slots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestTheNextProcessReadsWhatOneHasWritten(t *testing.T) {
	f := newFile(t, 10)
	opened := time.Unix(1700000000, 5)
	a, b := f.Take(7), f.Take(8)
	a.Open(opened)
	a.Count(Tally{1, 2, 3, 4})
	a.Count(Tally{100, 20, 1, 50})
	b.SetClosed()
	g := next(t, f)
	if s := g.Find(7); !s.Opened().Equal(opened) || s.Tally() != (Tally{100, 20, 1, 50}) || s.Closed() {
		t.Errorf("got %v, %+v, closed %v", s.Opened(), s.Tally(), s.Closed())
	}
	if s := g.Find(8); !s.Opened().IsZero() || !s.Closed() || s.Tally() != (Tally{}) {
		t.Errorf("got %v, %+v, closed %v", s.Opened(), s.Tally(), s.Closed())
	}
	if s := g.Find(7); s != nil {
		t.Error("found a second time")
	}
	if s := g.Find(9); s != nil {
		t.Error("found one that nobody has left")
	}
}

// TestAKilledSessionIsKnownToTheNextProcess, and the next one in its slot is not.
func TestAKilledSessionIsKnownToTheNextProcess(t *testing.T) {
	f := newFile(t, 3)
	client := netip.MustParseAddrPort("192.0.2.1:1234")
	a, b := f.Take(7), f.Take(8)
	a.SetKilled()
	a.SetClient(client, 50)
	a.Hold(time.Unix(5, 0))
	a.Open(time.Unix(5, 0))
	b.SetClient(client, 50)
	g := next(t, f)
	s := g.Find(7)
	if got, size := s.Client(); !s.Killed() || got != client || size != 50 {
		t.Errorf("got killed %v, %v and %d bytes, want true, %v and 50", s.Killed(), got, size, client)
	}
	if g.Find(8).Killed() {
		t.Error("the other session is killed")
	}
	s.Free()
	if s := g.Take(9); s.Killed() {
		t.Error("the next session of the slot is killed")
	}
	var none *Slot
	if none.SetKilled(); none.Killed() {
		t.Error("without a slot: got killed")
	}
}

// TestTLSIsNeverTakenForClearText: not by versions before 0.3, which know only one flag, and not
// until the end of the session is recorded.
func TestTLSIsNeverTakenForClearText(t *testing.T) {
	f := newFile(t, 4)
	client := netip.MustParseAddrPort("192.0.2.1:1234")
	for cookie := uint64(7); cookie < 10; cookie++ {
		s := f.Take(cookie)
		s.SetClient(client, 50)
		if s.SetTLS(); s.at.flags.Load()&flagClosed == 0 {
			t.Error("versions before 0.3: got a session to go on with")
		}
		s.Open(time.Unix(5, 0))
		switch cookie {
		case 8:
			s.SetClosed()
		case 9:
			s.Mark(Written{Offset: 4, Records: 1, Opened: true, Closed: true}, 100)
		}
	}
	g := next(t, f)
	g.Settle(100)
	for cookie := uint64(7); cookie < 10; cookie++ {
		s := g.Find(cookie)
		if tls, closed := s.TLS(), s.Closed(); tls != (cookie == 7) || closed != (cookie > 7) {
			t.Errorf("%d: got TLS %v and closed %v", cookie, tls, closed)
		}
		if got, size := s.Client(); got != client || size != 50 {
			t.Errorf("%d: got %v and %d bytes, want %v and 50", cookie, got, size, client)
		}
		s.Free()
		if s = g.Take(cookie); s.TLS() || s.Closed() {
			t.Error("the next session of the slot: got TLS or closed")
		}
	}
	var none *Slot
	if none.SetTLS(); none.TLS() {
		t.Error("without a slot: got TLS")
	}
}

// TestAHeldOpeningIsNotRecorded: its time is known, also behind a PROXY header, and Open ends that.
func TestAHeldOpeningIsNotRecorded(t *testing.T) {
	f := newFile(t, 3)
	opened, client := time.Unix(1700000000, 5), netip.MustParseAddrPort("192.0.2.1:1234")
	for cookie := uint64(7); cookie < 10; cookie++ {
		s := f.Take(cookie)
		s.SetClient(client, 50)
		s.Hold(opened)
		switch cookie {
		case 8:
			s.Open(opened)
		case 9:
			s.Mark(Written{Offset: 4, Records: 1, Opened: true}, 100)
		}
	}
	g := next(t, f)
	g.Settle(100)
	for cookie := uint64(7); cookie < 10; cookie++ {
		s := g.Find(cookie)
		if got, want := !s.Opened().IsZero(), cookie > 7; got != want {
			t.Errorf("%d: got a recorded opening: %v, want %v", cookie, got, want)
		}
		if got := s.Began(); !got.Equal(opened) {
			t.Errorf("%d: began at %v, want %v", cookie, got, opened)
		}
		if got, size := s.Client(); got != client || size != 50 {
			t.Errorf("%d: got client %v with a header of %d bytes, want %v with 50", cookie, got, size, client)
		}
		s.Free()
	}
	if s := g.Take(10); !s.Began().IsZero() || s.at.proxyHeader.Load() != 0 {
		t.Error("got a slot that is not empty")
	}
}

func TestSlotsAreUsedAgain(t *testing.T) {
	f := newFile(t, 2)
	a, b, c := f.Take(1), f.Take(2), f.Take(3)
	if a == nil || b == nil || c != nil {
		t.Fatalf("got %v, %v, %v, want two slots and no third", a, b, c)
	}
	a.Open(time.Now())
	a.Count(Tally{1, 1, 1, 1})
	a.SetClosed()
	a.Free()
	if c = f.Take(3); c == nil || !c.Opened().IsZero() || c.Tally() != (Tally{}) || c.Closed() {
		t.Errorf("got %+v, want an empty slot", c)
	}
	g := next(t, f)
	g.Find(2)
	g.Forget() // the slot of 3
	if g.Take(4) == nil || g.Take(5) != nil {
		t.Error("want one slot free, that of a connection which nobody asked for")
	}
}

// TestSuspects: several processes have ended while they were busy with a connection, without
// progress.
func TestSuspects(t *testing.T) {
	f := newFile(t, 2)
	s := f.Take(1)
	s.Count(Tally{})
	var got, panics []int
	for i, progress := range []bool{false, false, true, false} {
		s.SetBusy(true)
		if i > 0 {
			s.SetPanic()
		}
		if progress {
			s.SetBusy(false)
			s.Count(Tally{1, 1, 0, 0})
			s.SetBusy(true)
		}
		f = next(t, f)
		s = f.Find(1)
		times, by := s.Crashed()
		got, panics = append(got, times), append(panics, by)
	}
	if want := []int{1, 2, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("crashes: got %v, want %v", got, want)
	}
	if want := []int{0, 1, 1, 2}; !slices.Equal(panics, want) {
		t.Errorf("of these by a panic: got %v, want %v", panics, want)
	}
	if s.Closed() {
		t.Error("got a session that is closed, want none")
	}
	f = next(t, f)
	if got := f.Find(1).crashed(); got != 0 {
		t.Errorf("when nobody was busy with it: got %d, want 0", got)
	}
}

func TestWithoutASlotNothingIsKept(t *testing.T) {
	var f *File
	s := f.Take(1)
	s.Open(time.Now())
	s.Count(Tally{1, 2, 3, 4})
	s.SetBusy(true)
	s.SetClosed()
	if s.Closed() || !s.Opened().IsZero() || s.Tally() != (Tally{}) || s.crashed() != 0 || f.Find(1) != nil {
		t.Error("got something, want nothing")
	}
	s.Free()
}

func TestADamagedFileIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(f *File)
		want   bool // whether the file can be opened
	}{
		{"none", func(*File) {}, true},
		{"another file", func(f *File) { f.header().magic++ }, false},
		{"slots of another size", func(f *File) { f.header().slotSize *= 2 }, false},
		{"more slots than there are", func(f *File) { f.header().slots += 1 << 20 }, false},
		{"shelves beyond the end", func(f *File) { f.header().shelves += 1 << 20 }, false},
		{"a file of before shelves", func(f *File) { f.header().shelves = 0 }, true},
		{"an older version", func(f *File) { f.header().version = 1 }, true},
		{"a newer version", func(f *File) { f.header().version++ }, true},
		{"no version", func(f *File) { f.header().version = 0 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t, 3)
			c.damage(f)
			fd, err := unix.FcntlInt(uintptr(f.FD()), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			g, err := Open(fd)
			if err == nil {
				if got := g.header().version; got != version {
					t.Errorf("version: got %d, want %d, as that uses the file now", got, version)
				}
				_ = g.Close()
			}
			if (err == nil) != c.want || err != nil && !errors.Is(err, errDamaged) {
				t.Errorf("got %v, want it to open: %v", err, c.want)
			}
		})
	}
}

// TestMarks: only progress whose records are written counts.
func TestMarks(t *testing.T) {
	one := Written{Offset: 10, Records: 1}
	two := Written{Offset: 20, Records: 2, Opened: true}
	end := Written{Offset: 20, Records: 2, Opened: true, Closed: true}
	for _, c := range []struct {
		name    string
		marks   []Written // at 100, 200, …
		written int64
		change  func(*File, *Slot)
		want    Written
	}{
		{"none", nil, 1000, nil, Written{}},
		{"the last one counts", []Written{one, two}, 200, nil, two},
		{"the last is not written", []Written{one, two}, 199, nil, one},
		{"none is", []Written{one, two}, 99, nil, Written{}},
		{"of three", []Written{one, two, end}, 300, nil, end},
		{"of three without the last", []Written{one, two, end}, 299, nil, two},
		{"killed while it was marked", []Written{one, two}, 200, func(_ *File, s *Slot) { s.at.marks[1].at.Store(0) }, one},
		{"the slot was another's, whose marks nobody cleared", []Written{one, two}, 200, func(_ *File, s *Slot) { s.at.marked.Store(8) }, Written{}},
		{"what a version without marks has left there", []Written{one, two}, 200, func(f *File, _ *Slot) { f.header().version = 1 }, Written{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t, 3)
			s := f.Take(7)
			for i, w := range c.marks {
				s.Mark(w, int64(i+1)*100)
			}
			if c.change != nil {
				c.change(f, s)
			}
			for range 2 { // it changes nothing if the second process is killed too
				f = next(t, f)
				f.Settle(c.written)
			}
			s = f.Find(7)
			if got := s.Written(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got := !s.Opened().IsZero(); got != c.want.Opened {
				t.Errorf("opened: got %v, want %v", got, c.want.Opened)
			}
			if got := s.Closed(); got != c.want.Closed {
				t.Errorf("closed: got %v, want %v", got, c.want.Closed)
			}
			s.Free()
			if got := f.Take(9).Written(); got != (Written{}) {
				t.Errorf("the slot's next connection: got %+v, want none", got)
			}
		})
	}
	var none *Slot
	if none.Mark(one, 1); none.Written() != (Written{}) {
		t.Error("without a slot: got something, want nothing")
	}
}

// TestATwinIsNotTrusted: no killed process leaves two slots for one connection.
func TestATwinIsNotTrusted(t *testing.T) {
	f := newFile(t, 3)
	f.Take(1)
	f.Take(1)
	g := next(t, f)
	if g.Find(1) == nil || g.Find(1) != nil || len(g.free) != 1 {
		t.Errorf("got %d free, want one slot of the connection and the other one free", len(g.free))
	}
}

func TestANewSlotCostsNoMemoryBeforeItIsUsed(t *testing.T) {
	f := newFile(t, 1<<20)
	f.Take(1)
	var st unix.Stat_t
	if err := unix.Fstat(f.FD(), &st); err != nil {
		t.Fatal(err)
	}
	if got := st.Blocks * 512; got > 2*pageSize {
		t.Errorf("got %d bytes, want a page for the header and one for the slot", got)
	}
}

func TestClient(t *testing.T) {
	f, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Take(1)
	for _, text := range []string{"192.0.2.1:65535", "[2001:db8::1]:0", "[::]:1", "0.0.0.0:0", ""} {
		want, _ := netip.ParseAddrPort(text) // "" is the zero value
		s.SetClient(want, 65535)
		if got, size := s.Client(); got != want || size != 65535 {
			t.Errorf("%q: got %v and %d bytes, want it and 65535", text, got, size)
		}
	}
	s.Free()
	if got, size := f.Take(2).Client(); got.IsValid() || size != 0 {
		t.Errorf("a slot used again: got %v and %d bytes, want nothing", got, size)
	}
	var none *Slot
	none.SetClient(netip.AddrPort{}, 1)
	if got, size := none.Client(); got.IsValid() || size != 0 {
		t.Errorf("no slot: got %v and %d bytes, want nothing", got, size)
	}
}

// TestTheShelf: the shelf has what was taken from a socket, whenever the process was killed.
func TestTheShelf(t *testing.T) {
	f := newFile(t, 3)
	f.Take(1)
	s := f.Take(7)
	s.Shelve(100, []byte("hello "))
	s.Shelve(100, []byte("hello world"))
	for _, c := range []struct {
		name  string
		taken int64
		want  string
	}{
		{"all was taken", 111, "hello world"},
		{"killed before the last was taken", 106, "hello "},
		{"killed before the first was taken", 100, ""},
		{"more was taken, and recorded", 112, ""},
		{"another place", 0, ""},
	} {
		got, base := next(t, f).Find(7).Shelf(c.taken)
		if string(got) != c.want || c.want != "" && base != 100 {
			t.Errorf("%s: got %q from %d, want %q from 100", c.name, got, base, c.want)
		}
	}
	if !s.Shelved(100, 11) || s.Shelved(100, 10) || s.Shelved(99, 11) {
		t.Error("shelved: want 11 bytes from 100")
	}
	memory := f.fd
	// Nothing can be written, so nothing may be removed to be written again.
	f.fd = -1
	// A process that continues where the previous one was killed.
	s.Shelve(100, []byte("hello w"))
	f.fd = memory
	if got, _ := s.Shelf(107); string(got) != "hello w" {
		t.Errorf("the next process, which has taken less: got %q, want %q", got, "hello w")
	}
	s.Shelve(200, []byte("next"))
	if got, base := s.Shelf(204); string(got) != "next" || base != 200 {
		t.Errorf("the next message: got %q from %d", got, base)
	}
	s.Shelve(300, make([]byte, shelfSize+1))
	if got, _ := s.Shelf(301); got != nil {
		t.Errorf("too long: got %d bytes, want none", len(got))
	}
	s.Shelve(300, make([]byte, 1<<20))
	s.Shelve(400, nil)
	var st unix.Stat_t
	if err := unix.Fstat(f.FD(), &st); err != nil {
		t.Fatal(err)
	}
	if got := st.Blocks * 512; got > 3*pageSize {
		t.Errorf("an empty shelf: the file takes %d bytes, want its memory let go of", got)
	}
	var none *Slot
	none.Shelve(1, []byte("x"))
	if got, _ := none.Shelf(2); got != nil || none.Shelved(1, 1) {
		t.Error("without a slot: got something, want nothing")
	}
}

// TestAFileWithoutShelves: if files cannot be large enough for shelves, slots are kept
// nevertheless.
func TestAFileWithoutShelves(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = 1 << 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	f, err := New(10)
	if err := errors.Join(err, unix.Setrlimit(unix.RLIMIT_FSIZE, &old)); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Take(7)
	s.Count(Tally{Offset: 5, Records: 1})
	s.Shelve(5, []byte("hello"))
	s = next(t, f).Find(7)
	if got, want := s.Tally(), (Tally{Offset: 5, Records: 1}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, _ := s.Shelf(10); got != nil {
		t.Errorf("got %q on a shelf, want none", got)
	}
}

// TestAShelfIsExtended: a process may have taken less from the socket than the previous process
// kept.
func TestAShelfIsExtended(t *testing.T) {
	for _, c := range []struct {
		name string
		base int64
		have int
		more string
		kept bool
		want string // what is kept
	}{
		{"behind all that is kept", 100, 6, " there", true, "hello  there"},
		{"behind some of what is kept", 100, 3, "lo!", true, "hello!"},
		{"before what is kept", 100, 0, "hello, you", true, "hello, you"},
		{"behind a gap", 100, 7, "x", false, ""},
		{"at another place", 200, 6, "x", false, ""},
		{"anew at another place", 200, 0, "next", true, "next"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFile(t, 1).Take(7)
			s.Shelve(100, []byte("hello "))
			if kept := s.Extend(c.base, c.have, []byte(c.more)); kept != c.kept {
				t.Errorf("kept: got %v, want %v", kept, c.kept)
			}
			if got, _ := s.Shelf(c.base + int64(len(c.want))); string(got) != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func (s *Slot) crashed() int {
	times, _ := s.Crashed()
	return times
}

// TestTheShelfSurvivesAKill at any point of a change: bytes that the kernel no longer has are kept
// all the time.
func TestTheShelfSurvivesAKill(t *testing.T) {
	stream := make([]byte, 60_000)
	for i := range stream {
		stream[i] = byte(rand.Uint32())
	}
	type step struct{ from, to int } // the part of the stream that is to be kept
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"it grows", []step{{0, 20_000}, {0, 20_001}, {0, 40_000}}},
		{"a byte is left behind a piece", []step{{0, 20_000}, {19_999, 20_000}, {19_999, 50_000}}},
		{"a byte is left, and more has come", []step{{0, 20_000}, {19_999, 36_000}, {35_999, 36_000}}},
		{"half is left, and more has come", []step{{0, 20_000}, {5000, 36_000}, {5000, 40_000}, {39_999, 40_001}, {39_999, 50_000}}},
		{"piece by piece", []step{{0, 20_000}, {100, 20_000}, {200, 20_000}, {10_000, 20_001}, {30_000, 30_001}}},
		{"messages end", []step{{0, 20_000}, {20_001, 20_001}, {20_001, 40_000}, {40_000, 40_000}, {40_000, 50_000}}},
	} {
		for name, shelve := range map[string]func(s *Slot, from, have, to int){
			"by the daemon": func(s *Slot, from, _, to int) { s.Shelve(int64(from), stream[from:to]) },
			"by a process": func(s *Slot, from, have, to int) {
				if !s.Extend(int64(from), have, stream[from+have:to]) {
					t.Errorf("from %d to %d: not kept", from, to)
				}
			},
		} {
			t.Run(c.name+" "+name, func(t *testing.T) {
				f := newFile(t, 2)
				f.Take(1)
				s := f.Take(7)
				taken := 0
				look := func() {
					t.Helper()
					slot := next(t, f).Find(7)
					from := min(int(slot.Tally().Offset), taken)
					if got, base := slot.Shelf(int64(taken)); !bytes.Equal(got, stream[from:taken]) || len(got) > 0 && base != int64(from) {
						t.Errorf("got %d bytes from %d, want those from %d to %d", len(got), base, from, taken)
					}
				}
				pwrite = func(fd int, p []byte, at int64) (int, error) {
					look()
					// And in the middle.
					n, err := unix.Pwrite(fd, p[:(len(p)+1)/2], at)
					look()
					return n, err
				}
				fallocate = func(fd int, mode uint32, at, n int64) error {
					look()
					return unix.Fallocate(fd, mode, at, n)
				}
				defer func() { pwrite, fallocate = unix.Pwrite, unix.Fallocate }()
				begin := 0
				for _, st := range c.steps {
					have := 0
					if st.from == begin {
						have = taken - begin
					}
					begin = st.from
					s.Count(Tally{Offset: int64(st.from)})
					look()
					shelve(s, st.from, have, st.to)
					look()
					if taken = st.to; st.to > st.from && !s.Shelved(int64(st.from), st.to-st.from) {
						t.Errorf("from %d to %d: not kept", st.from, st.to)
					}
					look()
				}
				var st unix.Stat_t
				if err := unix.Fstat(f.FD(), &st); err != nil {
					t.Fatal(err)
				}
				if got, most := st.Blocks*512, int64(2*pageSize+40_000+2*pageSize); got > most {
					t.Errorf("the file takes %d bytes, want %d at most", got, most)
				}
			})
		}
	}
}
