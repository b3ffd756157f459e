// Package ring keeps connections alive beyond their process. A ring is one pair of sockets, held by somebody who outlives us,
// systemd's descriptor store say; the connections lie in the queue between its two ends, as a log. It promises that a connection
// which is enlisted can be had back from the pair at any moment until it is retired, also when we die in the middle of a call;
// that one which is retired leaves the queue within a while; and that the queue stays in proportion to the living. What is
// said over a connection it never sees.
//
// The queue is of messages, up to perMessage connections each (unix(7), SCM_RIGHTS). Nothing can be taken out of its middle: the
// living of the oldest messages are sent once more at its end, and only then the oldest are dropped. So a connection may lie in it
// twice, and counts where it is newest. Its name is the socket's cookie (socket(7), SO_COOKIE), the same in every duplicate.
package ring

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFull is that a connection is not enlisted as the queue has no room for it, or the process may have no more in flight
// (LimitNOFILE=). It may be tried again.
var ErrFull = errors.New("no room in the ring")

// Ring is such a pair of sockets, and what is known of the queue between them. Its methods may be called from any goroutine.
type Ring struct {
	mu       sync.Mutex
	in, out  int // the ends: connections go into one and lie before the other
	age      time.Duration
	young    list                           // not enlisted yet, the oldest first
	queue    []*message                     // the oldest first
	inFlight int                            // descriptors in the queue
	living   int                            // entries in it that are not retired
	room     int                            // how many messages the queue holds
	most     int                            // how many descriptors may be in flight
	full     bool                           // there was no room the last time
	parted   bool                           // nothing may be sent any more
	sendmsg  func(fd int, oob []byte) error // sendRights, but in tests
}

// Entry is one connection. The zero value is one that no ring knows of. It belongs to the ring from Add or Adopt on.
type Entry struct {
	fd         int
	at         *message // nil: not enlisted
	since      time.Time
	prev, next *Entry // among the young
	known      bool   // from Add or Adopt until Retire
}

// New makes a pair. Connections are enlisted once they are older than age, when Tend is called.
func New(age time.Duration) (*Ring, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	return Open(pair[0], pair[1], age)
}

// Open takes over a pair, whose descriptors are the ring's from now on. Adopt says which connections lie in it.
func Open(a, b int, age time.Duration) (*Ring, error) {
	r := &Ring{in: a, out: b, age: age, sendmsg: sendRights}
	if err := r.open(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Ring) open() error {
	for _, fd := range []int{r.in, r.out} {
		kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		if err == nil && kind != unix.SOCK_SEQPACKET {
			err = unix.ESOCKTNOSUPPORT
		}
		if err != nil {
			return fmt.Errorf("end of a ring: %w", os.NewSyscallError("getsockopt", err))
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	// Whoever hands the ends over may have swapped them.
	if n, err := unix.IoctlGetInt(r.in, unix.SIOCINQ); err == nil && n > 0 {
		r.in, r.out = r.out, r.in
	}
	return r.measure()
}

// measure finds out how much the queue holds.
func (r *Ring) measure() error {
	// The kernel caps it at net.core.wmem_max.
	if err := unix.SetsockoptInt(r.in, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<20); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	size, err := unix.GetsockoptInt(r.in, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	r.room = size / messageSize
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	r.most = int(min(files.Cur, 1<<30)) - slack
	return nil
}

// Ends are the pair's descriptors, for whoever is to keep them. They stay the ring's.
func (r *Ring) Ends() (a, b int) { return r.in, r.out }

// SetAge changes how old a connection is before Tend enlists it.
func (r *Ring) SetAge(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.age = age
}

// Add takes note of a connection, which Tend enlists in time. The descriptor has to stay open until Retire has returned.
func (r *Ring) Add(e *Entry, fd int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.fd, e.since, e.known = fd, now, true
	r.young.push(e)
}

// Retire has the connection leave the ring. What becomes of it is its owner's: shut it down before it is closed, as its peer
// learns nothing of a close while a duplicate lies in the queue, which Retire says that one may. For an entry that the ring does not
// know it does nothing.
func (r *Ring) Retire(e *Entry) (enlisted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	enlisted = e.known && e.at != nil
	switch {
	case !e.known:
		return false
	case e.at == nil:
		r.young.remove(e)
	default:
		r.living--
		if e.at.living--; e.at.dead.IsZero() {
			e.at.dead = time.Now()
		}
		e.at = nil
	}
	e.known = false
	_ = r.drop() // Tend tells
	return enlisted
}

// Tend enlists those that are old enough and keeps the queue small. It is called now and then; after Part it does nothing.
func (r *Ring) Tend(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parted {
		return nil
	}
	err := r.enlist(now.Add(-r.age))
	return errors.Join(err, r.compact(now), r.drop())
}

// EnlistAll enlists all, however young. With an error some are not: Enlisted tells which.
func (r *Ring) EnlistAll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enlist(time.Now().Add(time.Hour))
}

// Part is EnlistAll for the last time: those that are enlisted by then lie in the queue as they do, and their descriptors may be
// closed without Retire.
func (r *Ring) Part() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parted = true
	return r.enlist(time.Now().Add(time.Hour))
}

// Capacity is how many connections find room in any case, and what sets that bound.
func (r *Ring) Capacity() (n int, bound string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	inFlight, messages := (r.most-slack)/2, (r.room-headroom)/2*perMessage
	if inFlight < messages {
		return max(inFlight, 0), "LimitNOFILE="
	}
	return max(messages, 0), "net.core.wmem_max"
}

// Enlisted says whether the connection would outlive us.
func (r *Ring) Enlisted(e *Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return e.at != nil
}

// Living is how many connections are enlisted.
func (r *Ring) Living() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.living
}

// Overdue is how many connections should have been enlisted, and found no room.
func (r *Ring) Overdue() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		for e := r.young.first; e != nil && time.Since(e.since) > r.age; e = e.next {
			n++
		}
	}
	return n
}

// Close closes our descriptors of the pair. What lies in it stays, while somebody else holds the pair.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = unix.Close(r.in), unix.Close(r.out) // nothing is written late
	r.in, r.out, r.parted = -1, -1, true
}
