// Package ring keeps connections alive beyond their process. A ring is one pair of sockets, held by somebody who outlives us,
// systemd's descriptor store say; the connections lie in the queue between its two ends, as a log. It promises that a connection
// which is enlisted can be had back from the pair at any moment until it is retired, also when we die in the middle of a call;
// that one which is retired leaves the queue within a while; and that the queue stays in proportion to the living.
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

const (
	// perMessage is how many descriptors one message takes (SCM_MAX_FD).
	perMessage = 253
	// headroom is how many messages always find room, so that there is never none for a compaction.
	headroom = 32
	// deadAge is how long the queue may hold a connection that is retired: to its peer it is closed, but the kernel keeps it.
	deadAge = 10 * time.Second
	// slack is how many descriptors may be in flight beyond what the living account for.
	slack = 2 * perMessage
)

// ErrFull is that a connection is not enlisted as the queue has no room for it, or the process may have no more in flight
// (LimitNOFILE=). It may be tried again.
var ErrFull = errors.New("no room in the ring")

// Ring is such a pair of sockets, and what is known of the queue between them. Its methods may be called from any goroutine.
type Ring struct {
	mu       sync.Mutex
	in, out  int // the ends: connections go into one and lie before the other
	age      time.Duration
	young    list       // not enlisted yet, the oldest first
	queue    []*message // the oldest first
	inFlight int        // descriptors in the queue
	living   int        // entries in it that are not retired
	room     int        // how many messages the queue holds
	most     int        // how many descriptors may be in flight
	full     bool       // there was no room the last time
	sendmsg  func(fd int, oob []byte) error
}

// message is one in the queue.
type message struct {
	entries []*Entry // those that count here are the ones that name this message
	count   int      // descriptors
	living  int
	dead    time.Time // when the first of its entries was retired; zero: never
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

// messageSize is what a message of one byte is charged to the send buffer.
const messageSize = 768

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

// Tend enlists those that are old enough and keeps the queue small. It is called now and then.
func (r *Ring) Tend(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.enlist(now.Add(-r.age))
	return errors.Join(err, r.compact(now), r.drop())
}

// EnlistAll enlists all, however young. With an error some are not: Enlisted tells which.
func (r *Ring) EnlistAll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
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

// Refuse has the kernel refuse all that is to be enlisted, for tests.
func (r *Ring) Refuse(with error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sendmsg = func(int, []byte) error { return with }
}

// Enlisted says whether the connection would outlive us.
func (r *Ring) Enlisted(e *Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return e.at != nil
}

// Stats are figures of a ring.
type Stats struct {
	Living   int // enlisted connections
	Young    int // that are not enlisted yet
	Overdue  int // of those, that should have been: there was no room
	InFlight int // descriptors in the queue
	Messages int // they lie in
	Room     int // messages that the queue holds
	Most     int // descriptors that may be in flight
}

// Stats returns them.
func (r *Ring) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Living: r.living, Young: r.young.n, InFlight: r.inFlight, Messages: len(r.queue), Room: r.room, Most: r.most}
	if r.full {
		for e := r.young.first; e != nil && time.Since(e.since) > r.age; e = e.next {
			s.Overdue++
		}
	}
	return s
}

// Close closes our descriptors of the pair. What lies in it stays, while somebody else holds the pair.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = unix.Close(r.in), unix.Close(r.out) // nothing is written late
	r.in, r.out = -1, -1
}

// enlist sends the young that were added before a moment.
func (r *Ring) enlist(before time.Time) (err error) {
	defer func() { r.full = err != nil }()
	for {
		m := &message{}
		for e := r.young.first; e != nil && len(m.entries) < perMessage && e.since.Before(before); e = e.next {
			m.entries = append(m.entries, e)
		}
		if len(m.entries) == 0 {
			return nil
		}
		if err := r.makeRoom(len(m.entries)); err != nil {
			return err
		}
		if err := r.send(m); err != nil {
			return err
		}
		for _, e := range m.entries {
			r.young.remove(e)
			e.at = m
		}
		r.living += len(m.entries)
	}
}

// makeRoom sees to it that n more find their place, with headroom.
func (r *Ring) makeRoom(n int) error {
	for tries := len(r.queue); len(r.queue)+headroom >= r.room || r.inFlight+n > r.most-slack; tries-- {
		if tries <= 0 || r.inFlight == r.living && !r.sparse() {
			return fmt.Errorf("%w: %d connections in %d messages", ErrFull, r.inFlight, len(r.queue))
		}
		if err := r.renew(); err != nil {
			return err
		}
	}
	return nil
}

// sparse says whether the messages could be fewer.
func (r *Ring) sparse() bool { return len(r.queue) > r.living/perMessage+1 }

// compact renews the oldest messages while there is more in flight than the living need, or something dead is too old.
func (r *Ring) compact(now time.Time) error {
	for tries := len(r.queue); tries > 0 && r.overdue(now); tries-- {
		if err := r.renew(); err != nil {
			return err
		}
	}
	return nil
}

// overdue says whether the queue should be renewed.
func (r *Ring) overdue(now time.Time) bool {
	if r.inFlight > 2*r.living+slack || r.sparse() && len(r.queue) > r.room*6/10 {
		return true
	}
	for _, m := range r.queue {
		if !m.dead.IsZero() && now.Sub(m.dead) > deadAge {
			return true
		}
	}
	return false
}

// renew sends the living of the oldest messages, as many as one message takes, once more at the end, and then drops those
// messages. Killed in between, we leave some twice.
func (r *Ring) renew() error {
	m, old := &message{}, 0
	for _, o := range r.queue {
		if len(m.entries)+o.living > perMessage {
			break
		}
		for _, e := range o.entries {
			if e.at == o {
				m.entries = append(m.entries, e)
			}
		}
		old++
	}
	if len(m.entries) > 0 {
		if err := r.send(m); err != nil {
			return err
		}
		for _, e := range m.entries {
			e.at.living--
			e.at = m
		}
	}
	return r.drop()
}

// send puts a message at the end of the queue; its entries are not changed.
func (r *Ring) send(m *message) error {
	fds := make([]int, len(m.entries))
	for i, e := range m.entries {
		fds[i] = e.fd
	}
	if err := r.sendmsg(r.in, unix.UnixRights(fds...)); err != nil {
		if err == unix.EAGAIN || err == unix.ETOOMANYREFS || err == unix.ENOBUFS || err == unix.ENOMEM {
			return fmt.Errorf("%w: %w", ErrFull, os.NewSyscallError("sendmsg", err))
		}
		return fmt.Errorf("enlist %d connections: %w", len(fds), os.NewSyscallError("sendmsg", err))
	}
	m.count, m.living = len(fds), len(fds)
	r.inFlight += m.count
	r.queue = append(r.queue, m)
	return nil
}

// sendRights sends one byte, which is what costs least.
func sendRights(fd int, oob []byte) error {
	for {
		err := unix.Sendmsg(fd, []byte{0}, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// drop takes messages from the head of the queue that nothing living counts in. Without a control buffer the kernel closes the
// duplicates.
func (r *Ring) drop() error {
	for len(r.queue) > 0 && r.queue[0].living == 0 {
		var b [1]byte
		if _, err := unix.Read(r.out, b[:]); err != nil {
			return fmt.Errorf("drop a message of the ring: %w", os.NewSyscallError("read", err))
		}
		r.inFlight -= r.queue[0].count
		r.queue[0] = nil
		r.queue = r.queue[1:]
	}
	return nil
}
