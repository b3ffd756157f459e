// Package ring keeps connections alive beyond their process. A ring is a pair of sockets that
// another process holds too, such as systemd's descriptor store. The connections lie in the queue
// between its two ends, which works as a log. The ring promises:
//
//   - A connection that is enlisted can be adopted from the pair at any moment until it is retired,
//     even if the process dies in the middle of a call.
//   - A connection that is retired leaves the queue soon.
//   - The size of the queue stays in proportion to the number of live connections.
//
// The ring never reads or writes a connection.
//
// The queue consists of messages with up to perMessage connections each (unix(7), SCM_RIGHTS).
// Nothing can be taken out of its middle: the live connections of the oldest messages are sent once
// more at its end, and only then are the oldest messages dropped. So a connection may be in the
// queue twice; the newest duplicate counts. A connection is known by its socket's cookie
// (socket(7), SO_COOKIE), which is the same for every duplicate.
package ring

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFull reports that a connection is not enlisted because the queue has no room, or because the
// process may have no more descriptors in flight (LimitNOFILE=). It may be tried again.
var ErrFull = errors.New("no room in the ring")

// Ring is such a pair of sockets, and what is known about the queue between them. Create one with
// New or Open. Its methods may be called from any goroutine.
type Ring struct {
	mu       sync.Mutex
	in, out  int // the ends: connections are sent into in and can be read from out
	began    time.Time
	age      time.Duration
	pending  list                           // not enlisted yet, the oldest first
	queue    []*message                     // the oldest first
	inFlight int                            // descriptors in the queue
	live     int                            // entries in the queue that are not retired
	room     int                            // how many messages the queue holds
	most     int                            // how many descriptors may be in flight
	full     bool                           // there was no room the last time
	sealed   bool                           // nothing may be sent any more
	sendmsg  func(fd int, oob []byte) error // sendRights, except in tests
}

// Entry is a connection. The zero value is a connection that no ring knows. From Add or Adopt on it
// belongs to the ring.
type Entry struct {
	fd         int32
	known      bool          // from Add or Adopt until Retire
	at         *message      // nil: not enlisted
	since      time.Duration // that it is the ring's, counted from Ring.began
	prev, next *Entry        // in the list of pending entries
}

// New makes a pair. Maintain enlists connections that are older than age.
func New(age time.Duration) (*Ring, error) {
	const kind = unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	pair, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	return Open(pair[0], pair[1], age)
}

// Open takes over a pair, and closes it after an error. From now on the ring owns the descriptors.
// Adopt returns the connections in the pair.
func Open(a, b int, age time.Duration) (*Ring, error) {
	r := &Ring{in: a, out: b, began: time.Now(), age: age, sendmsg: sendRights}
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
	// The ends may have been swapped on their way here.
	if n, err := unix.IoctlGetInt(r.in, unix.SIOCINQ); err == nil && n > 0 {
		r.in, r.out = r.out, r.in
	}
	return r.measure()
}

// measure finds out how much the queue can hold.
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

// Ends returns the descriptors of the pair, so that another process can be given duplicates. The
// ring still owns them.
func (r *Ring) Ends() (a, b int) { return r.in, r.out }

// SetAge changes how old a connection must be before Maintain enlists it.
func (r *Ring) SetAge(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.age = age
}

// Add adds a connection, which Maintain will enlist when it is old enough. The caller keeps the
// descriptor open until Retire has returned.
func (r *Ring) Add(e *Entry, fd int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.fd, e.since, e.known = int32(fd), now.Sub(r.began), true
	r.pending.push(e)
}

// Retire removes a connection from the ring, and reports whether a duplicate may remain in the
// queue for a while. While one does, the peer does not notice that the descriptor is closed, so the
// owner has to shut the connection down before. Retire does nothing for an entry that the ring does
// not know.
func (r *Ring) Retire(e *Entry) (enlisted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	enlisted = e.known && e.at != nil
	switch {
	case !e.known:
		return false
	case e.at == nil:
		r.pending.remove(e)
	default:
		r.live--
		if e.at.live--; e.at.retired.IsZero() {
			e.at.retired = time.Now()
		}
		e.at = nil
	}
	e.known = false
	_ = r.drop() // Maintain tries again, and returns the error
	return enlisted
}

// Maintain enlists the connections that are old enough, and keeps the queue small. Call it
// regularly. After Seal it does nothing. However large the queue is, other methods wait for one
// message of it only.
func (r *Ring) Maintain(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed {
		return nil
	}
	err := errors.Join(r.enlist(now.Add(-r.age)), r.compact(now))
	if r.sealed { // meanwhile
		return err
	}
	return errors.Join(err, r.drop())
}

// EnlistAll enlists all connections, whatever their age. After an error some are not enlisted:
// Enlisted reports which.
func (r *Ring) EnlistAll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enlist(time.Now().Add(time.Hour))
}

// Seal enlists all connections as EnlistAll does, and sends nothing from then on. Connections that
// are enlisted then stay in the queue, and their descriptors may be closed without Retire.
func (r *Ring) Seal() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
	return r.enlist(time.Now().Add(time.Hour))
}

// Capacity returns how many connections the ring can hold in any case, and the setting that limits
// it.
func (r *Ring) Capacity() (n int, bound string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	inFlight, messages := (r.most-slack)/2, (r.room-headroom)/2*perMessage
	if inFlight < messages {
		return max(inFlight, 0), "LimitNOFILE="
	}
	return max(messages, 0), "net.core.wmem_max"
}

// Enlisted reports whether the connection is in the queue, so that it survives the process.
func (r *Ring) Enlisted(e *Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return e.at != nil
}

// Live returns how many connections are enlisted.
func (r *Ring) Live() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

// Overdue returns how many connections are old enough but not enlisted, because there was no room.
func (r *Ring) Overdue() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.full {
		return 0
	}
	// The young ones are fewer, and the last.
	n, before := r.pending.n, time.Since(r.began)-r.age
	for e := r.pending.last; e != nil && e.since >= before; e = e.prev {
		n--
	}
	return n
}

// Close closes the ring's descriptors of the pair. The queue survives while another process holds
// the pair.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = unix.Close(r.in), unix.Close(r.out) // nothing is written late
	r.in, r.out, r.sealed = -1, -1, true
}
