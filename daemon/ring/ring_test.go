package ring

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// store holds the pair when its process dies, as systemd does.
type store struct {
	t      *testing.T
	a, b   int
	opened int
}

// keep duplicates the ends of a ring.
func keep(t *testing.T, r *Ring) *store {
	t.Helper()
	s := &store{t: t}
	a, b := r.Ends()
	s.a, s.b = dup(t, a), dup(t, b)
	t.Cleanup(func() { _, _ = unix.Close(s.a), unix.Close(s.b) })
	return s
}

// open returns the ring of the next process, with the ends swapped every other time.
func (s *store) open(age time.Duration) *Ring {
	s.t.Helper()
	a, b := dup(s.t, s.a), dup(s.t, s.b)
	if s.opened++; s.opened%2 == 0 {
		a, b = b, a
	}
	r, err := Open(a, b, age)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// figures are the numbers of a ring.
type figures struct {
	Live, Pending      int // connections
	InFlight, Messages int // descriptors in the queue, and their messages
}

func (r *Ring) figures() figures {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := figures{Live: r.live, InFlight: r.inFlight, Messages: len(r.queue)}
	for e := r.pending.first; e != nil; e = e.next {
		f.Pending++
	}
	return f
}

func newRing(t *testing.T, age time.Duration) *Ring {
	t.Helper()
	r, err := New(age)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// conn is one of our ends of a connection; any socket has a cookie.
type conn struct {
	Entry
	fd     int
	cookie uint64
}

// newConn makes a socket. It needs no peer.
func newConn(t *testing.T) *conn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &conn{fd: fd, cookie: cookieOf(t, fd)}
}

func cookieOf(t *testing.T, fd int) uint64 {
	t.Helper()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

// adopt adopts all connections.
func adopt(t *testing.T, r *Ring) (all map[uint64]*conn) {
	t.Helper()
	all = make(map[uint64]*conn)
	err := r.Adopt(func(fd int, cookie uint64) *Entry {
		if got := cookieOf(t, fd); got != cookie || all[cookie] != nil {
			t.Errorf("adopted: got cookie %d for %d, again: %v", cookie, got, all[cookie] != nil)
		}
		c := &conn{fd: fd, cookie: cookie}
		all[cookie] = c
		return &c.Entry
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// die closes what a process had open.
func die(r *Ring, conns map[uint64]*conn) {
	r.Close()
	for _, c := range conns {
		_ = unix.Close(c.fd)
	}
}

func TestEnlistedConnectionsAreAdopted(t *testing.T) {
	for _, n := range []int{0, 1, perMessage, perMessage + 1, 3000} {
		r := newRing(t, 0)
		s := keep(t, r)
		all := map[uint64]*conn{}
		for range n {
			c := newConn(t)
			all[c.cookie] = c
			r.Add(&c.Entry, c.fd, time.Now())
		}
		if err := r.EnlistAll(); err != nil {
			t.Fatal(err)
		}
		if got := r.figures(); got.Live != n || got.Pending != 0 || got.InFlight != n || got.Messages != (n+perMessage-1)/perMessage {
			t.Errorf("%d: got %+v", n, got)
		}
		die(r, all)
		for range 3 { // adopting changes nothing
			r = s.open(0)
			got := adopt(t, r)
			if len(got) != n {
				t.Errorf("adopted: got %d, want %d", len(got), n)
			}
			if stats := r.figures(); stats.Live != n || stats.InFlight != n {
				t.Errorf("%d: got %+v after adoption", n, stats)
			}
			die(r, got)
		}
	}
}

func TestMaintainEnlistsOnlyOldConnections(t *testing.T) {
	r := newRing(t, time.Minute)
	defer r.Close()
	now := time.Now()
	old, young := newConn(t), newConn(t)
	defer die(r, map[uint64]*conn{1: old, 2: young})
	r.Add(&old.Entry, old.fd, now.Add(-2*time.Minute))
	r.Add(&young.Entry, young.fd, now)
	if err := r.Maintain(now); err != nil {
		t.Fatal(err)
	}
	if a, b := r.Enlisted(&old.Entry), r.Enlisted(&young.Entry); !a || b {
		t.Errorf("enlisted: got old %v, young %v", a, b)
	}
	r.Retire(&young.Entry)
	r.Retire(&young.Entry)
	if got := r.figures(); got.Pending != 0 || got.Live != 1 {
		t.Errorf("got %+v, want none pending and 1 live", got)
	}
}

// errKilled stands for the end of a process in the middle of a call.
var errKilled = errors.New("killed")

// TestKilledAtRandom: a connection that is enlisted and not retired is adopted, whenever the
// process dies; and one that is retired leaves the queue.
func TestKilledAtRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2)) // the same each time: the kernel adds chance enough
	r := newRing(t, 0)
	s := keep(t, r)
	live := map[uint64]*conn{}
	for life := range 60 {
		runUntilKilled(t, rnd, r, live)
		enlisted := map[uint64]bool{}
		for cookie, c := range live {
			if r.Enlisted(&c.Entry) {
				enlisted[cookie] = true
			}
		}
		was := live
		die(r, was)
		r = s.open(0)
		live = adopt(t, r)
		for cookie := range enlisted {
			if live[cookie] == nil {
				t.Fatalf("life %d: connection %d was enlisted and is lost", life, cookie)
			}
		}
		for cookie, c := range live { // what a killed process had retired may come back
			if was[cookie] == nil {
				r.Retire(&c.Entry)
				_ = unix.Close(c.fd)
				delete(live, cookie)
			}
		}
		if got := r.figures(); got.Live != len(live) {
			t.Fatalf("life %d: got %+v, want %d live", life, got, len(live))
		}
		bounded(t, r)
	}
	for _, c := range live {
		r.Retire(&c.Entry)
	}
	if got := r.figures(); got.Messages != 0 || got.InFlight != 0 {
		t.Errorf("with all retired: got %+v, want an empty queue", got)
	}
	die(r, live)
}

// runUntilKilled enlists, retires and maintains until the process is killed, possibly in the middle
// of a call.
func runUntilKilled(t *testing.T, rnd *rand.Rand, r *Ring, live map[uint64]*conn) {
	t.Helper()
	left := rnd.IntN(40)
	r.sendmsg = func(fd int, oob []byte) error {
		if left--; left < 0 {
			if rnd.IntN(2) == 0 { // just before the call, or just after it
				_ = sendRights(fd, oob)
			}
			return errKilled
		}
		return sendRights(fd, oob)
	}
	now := time.Now()
	for range 200 {
		switch rnd.IntN(3) {
		case 0:
			for range rnd.IntN(100) {
				c := newConn(t)
				live[c.cookie] = c
				r.Add(&c.Entry, c.fd, now)
			}
		case 1:
			for cookie, c := range live { // in random order
				if len(live) < rnd.IntN(600) {
					break
				}
				r.Retire(&c.Entry)
				_ = unix.Close(c.fd)
				delete(live, cookie)
			}
		case 2:
			now = now.Add(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			err := r.Maintain(now)
			if errors.Is(err, errKilled) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			bounded(t, r)
		}
	}
}

// bounded fails if the queue is out of proportion.
func bounded(t *testing.T, r *Ring) {
	t.Helper()
	if err := r.Maintain(time.Now()); err != nil && !errors.Is(err, errKilled) {
		t.Fatal(err)
	} else if err != nil {
		return
	}
	if got := r.figures(); got.InFlight > 2*got.Live+slack || got.Messages > r.room {
		t.Errorf("got %+v, want at most %d in flight and %d messages", got, 2*got.Live+slack, r.room)
	}
}

// TestRetiredConnectionsLeaveTheQueue, also from its middle and while nothing else happens.
func TestRetiredConnectionsLeaveTheQueue(t *testing.T) {
	r := newRing(t, 0)
	all := map[uint64]*conn{}
	var order []*conn
	for range 2*perMessage + 1 {
		c := newConn(t)
		all[c.cookie] = c
		order = append(order, c)
		r.Add(&c.Entry, c.fd, time.Now())
	}
	defer die(r, all)
	if err := r.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	r.Retire(&order[perMessage].Entry)
	if err := r.Maintain(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := r.figures(); got.InFlight != len(order) {
		t.Errorf("at once: got %+v, want %d in flight still", got, len(order))
	}
	if err := r.Maintain(time.Now().Add(2 * retiredAge)); err != nil {
		t.Fatal(err)
	}
	if got := r.figures(); got.InFlight != len(order)-1 || got.Live != len(order)-1 {
		t.Errorf("in time: got %+v, want %d in flight", got, len(order)-1)
	}
}

// TestAfterSealDescriptorsMayBeClosed: another file that gets the number does not enter the queue.
func TestAfterSealDescriptorsMayBeClosed(t *testing.T) {
	r := newRing(t, time.Hour)
	s := keep(t, r)
	young, gone := newConn(t), newConn(t)
	r.Add(&young.Entry, young.fd, time.Now())
	r.Add(&gone.Entry, gone.fd, time.Now())
	if err := r.Seal(); err != nil {
		t.Fatal(err)
	}
	r.Retire(&gone.Entry) // which would need a compaction later
	if err := unix.Dup2(gone.fd, young.fd); err != nil {
		t.Fatal(err)
	}
	if err := r.Maintain(time.Now().Add(2 * retiredAge)); err != nil {
		t.Error(err)
	}
	die(r, map[uint64]*conn{1: young, 2: gone})
	next := s.open(0)
	got := adopt(t, next)
	if got[young.cookie] == nil {
		t.Errorf("adopted: got %d others, want the one that was enlisted", len(got))
	}
	die(next, got)
}

// TestWithoutRoomNothingIsLost: what the kernel refuses is enlisted later.
func TestWithoutRoomNothingIsLost(t *testing.T) {
	for _, refusal := range []unix.Errno{unix.EAGAIN, unix.ETOOMANYREFS} {
		r := newRing(t, 0)
		s := keep(t, r)
		first, second := newConn(t), newConn(t)
		r.Add(&first.Entry, first.fd, time.Now())
		if err := r.EnlistAll(); err != nil {
			t.Fatal(err)
		}
		r.Add(&second.Entry, second.fd, time.Now())
		r.sendmsg = func(int, []byte) error { return refusal }
		if err := r.EnlistAll(); !errors.Is(err, ErrFull) || !errors.Is(err, refusal) {
			t.Errorf("got %v, want %v and %v", err, ErrFull, refusal)
		}
		if !r.Enlisted(&first.Entry) || r.Enlisted(&second.Entry) {
			t.Errorf("%v: got first %v, second %v, want only the first enlisted", refusal, r.Enlisted(&first.Entry), r.Enlisted(&second.Entry))
		}
		r.sendmsg = sendRights
		if err := r.EnlistAll(); err != nil || !r.Enlisted(&second.Entry) {
			t.Errorf("again: got %v, want it enlisted", err)
		}
		die(r, map[uint64]*conn{1: first, 2: second})
		next := s.open(0)
		got := adopt(t, next)
		if len(got) != 2 || got[first.cookie] == nil || got[second.cookie] == nil {
			t.Errorf("adopted: got %d, want both", len(got))
		}
		die(next, got)
	}
}

// TestSinglesArePackedTogether: messages with one connection each do not fill the queue.
func TestSinglesArePackedTogether(t *testing.T) {
	r := newRing(t, 0)
	if err := unix.SetsockoptInt(r.in, unix.SOL_SOCKET, unix.SO_SNDBUF, 100<<10); err != nil {
		t.Fatal(err)
	}
	size, err := unix.GetsockoptInt(r.in, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		t.Fatal(err)
	}
	r.room = size / messageSize
	all := map[uint64]*conn{}
	defer func() { die(r, all) }()
	for range 2 * r.room {
		c := newConn(t)
		all[c.cookie] = c
		r.Add(&c.Entry, c.fd, time.Now())
		if err := r.Maintain(time.Now()); err != nil {
			t.Fatalf("%v at %+v", err, r.figures())
		}
	}
	if got := r.figures(); got.Live != len(all) || got.Messages > r.room {
		t.Errorf("got %+v, want %d live", got, len(all))
	}
}

func TestTooManyInFlightIsRefusedBeforeTheKernelDoes(t *testing.T) {
	r := newRing(t, 0)
	r.most = 3*slack + 10
	all := map[uint64]*conn{}
	defer func() { die(r, all) }()
	for range r.most {
		c := newConn(t)
		all[c.cookie] = c
		r.Add(&c.Entry, c.fd, time.Now())
	}
	if err := r.EnlistAll(); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	if got := r.figures(); got.InFlight > r.most-slack || got.Live == 0 || got.Pending == 0 {
		t.Errorf("got %+v, want some enlisted and at most %d in flight", got, r.most-slack)
	}
}

// TestTheKernelRefusesTooManyInFlight: the limit is one for all processes of a user. Nothing is
// lost when it is reached.
func TestTheKernelRefusesTooManyInFlight(t *testing.T) {
	r, elsewhere := newRing(t, 0), newRing(t, 0)
	s := keep(t, r)
	var all [40]*conn
	for i := range all {
		all[i] = newConn(t)
		to := elsewhere
		if i < 2 {
			to = r
		}
		to.Add(&all[i].Entry, all[i].fd, time.Now())
	}
	if err := elsewhere.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	runtime.LockOSThread() // for good: the thread loses its privileges
	dropPrivileges(t)
	relax := limitFiles(t, 8)
	err := r.EnlistAll()
	relax()
	if !errors.Is(err, ErrFull) || !errors.Is(err, unix.ETOOMANYREFS) {
		t.Errorf("got %v, want %v and %v", err, ErrFull, unix.ETOOMANYREFS)
	}
	if err := r.EnlistAll(); err != nil {
		t.Errorf("again: got %v, want them enlisted", err)
	}
	die(r, map[uint64]*conn{0: all[0], 1: all[1]})
	next := s.open(0)
	if got := adopt(t, next); len(got) != 2 || got[all[0].cookie] == nil || got[all[1].cookie] == nil {
		t.Errorf("adopted: got %d, want both", len(got))
	}
}

// dropPrivileges drops the capabilities by which the thread could have any number of descriptors in
// flight (unix(7), ETOOMANYREFS).
func dropPrivileges(t *testing.T) {
	t.Helper()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		t.Fatal(err)
	}
	sets[0].Effective &^= 1<<unix.CAP_SYS_RESOURCE | 1<<unix.CAP_SYS_ADMIN
	if err := unix.Capset(&head, &sets[0]); err != nil {
		t.Fatal(err)
	}
}

// limitFiles lowers RLIMIT_NOFILE until relax is called.
func limitFiles(t *testing.T, n uint64) (relax func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) } // it was allowed before
}

func TestAnEndOfAnotherKindIsNoRing(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(pair[0], pair[1], 0); !errors.Is(err, unix.ESOCKTNOSUPPORT) {
		t.Errorf("got %v, want %v", err, unix.ESOCKTNOSUPPORT)
	}
}

// TestUnwantedConnectionsAreForgotten: take closes the descriptor, and the ring forgets the
// connection.
func TestUnwantedConnectionsAreForgotten(t *testing.T) {
	r := newRing(t, 0)
	s := keep(t, r)
	all := map[uint64]*conn{}
	for range 10 {
		c := newConn(t)
		all[c.cookie] = c
		r.Add(&c.Entry, c.fd, time.Now())
		if err := r.Maintain(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	die(r, all)
	r = s.open(0)
	defer r.Close()
	var wanted []uint64
	err := r.Adopt(func(fd int, cookie uint64) *Entry {
		if len(wanted) >= 5 {
			_ = unix.Close(fd)
			return nil
		}
		wanted = append(wanted, cookie)
		return &Entry{}
	})
	if got := r.figures(); err != nil || got.Live != 5 || got.InFlight != 10 {
		t.Errorf("got %+v, %v, want 5 live of 10", got, err)
	}
	if !slices.IsSorted(wanted) {
		t.Errorf("got %v, want them in the order in which they were enlisted", wanted)
	}
}

func TestCapacityNamesItsBound(t *testing.T) {
	r := newRing(t, 0)
	defer r.Close()
	for _, c := range []struct {
		most, room, want int
		bound            string
	}{
		{65536 - slack, 555, (65536 - 2*slack) / 2, "LimitNOFILE="},
		{1 << 20, 100, (100 - headroom) / 2 * perMessage, "net.core.wmem_max"},
		{100, 555, 0, "LimitNOFILE="},
	} {
		r.most, r.room = c.most, c.room
		if n, bound := r.Capacity(); n != c.want || bound != c.bound {
			t.Errorf("%d in flight, %d messages: got %d, %q, want %d, %q", c.most, c.room, n, bound, c.want, c.bound)
		}
	}
}
