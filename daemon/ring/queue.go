package ring

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// perMessage is the number of descriptors that one message can carry (SCM_MAX_FD).
	perMessage = 253
	// headroom is the number of messages that is kept free, so that compaction never lacks
	// room.
	headroom = 32
	// retiredAge is how long the queue may hold a connection that is retired: its peer sees it
	// closed, but the kernel keeps it.
	retiredAge = 10 * time.Second
	// slack is how many more descriptors may be in flight than there are live connections.
	slack = 2 * perMessage
	// messageSize is what the kernel charges the send buffer for a message of one byte.
	messageSize = 768
)

// message is a message in the queue.
type message struct {
	entries []*Entry  // only entries whose at is this message count here
	count   int       // descriptors
	live    int       // entries that count here and are not retired
	retired time.Time // when the first of its entries was retired; zero: never
}

// enlist sends the pending connections that were added before the given time.
func (r *Ring) enlist(before time.Time) (err error) {
	defer func() { r.full = err != nil }()
	for {
		m := &message{}
		for e := r.pending.first; e != nil && len(m.entries) < perMessage; e = e.next {
			if e.since >= before.Sub(r.began) {
				break
			}
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
			r.pending.remove(e)
			e.at = m
		}
		r.live += len(m.entries)
	}
}

// makeRoom makes room for a message with n descriptors, and for the headroom.
func (r *Ring) makeRoom(n int) error {
	tries := len(r.queue)
	for len(r.queue)+headroom >= r.room || r.inFlight+n > r.most-slack {
		if tries <= 0 || r.inFlight == r.live && !r.sparse() {
			return fmt.Errorf("%w: %d connections in %d messages", ErrFull, r.inFlight, len(r.queue))
		}
		if err := r.renew(); err != nil {
			return err
		}
		tries--
	}
	return nil
}

// sparse reports whether fewer messages could hold the live connections.
func (r *Ring) sparse() bool { return len(r.queue) > r.live/perMessage+1 }

// compact renews the oldest messages while the queue is larger than the live connections need, or
// holds a retired connection for too long. That may take all messages, so it lets others have the
// lock after each: clients that come and go wait for it.
func (r *Ring) compact(now time.Time) error {
	for tries := len(r.queue); tries > 0 && !r.sealed && r.needsCompaction(now); tries-- {
		if err := r.renew(); err != nil {
			return err
		}
		r.mu.Unlock()
		r.mu.Lock()
	}
	return nil
}

func (r *Ring) needsCompaction(now time.Time) bool {
	if r.inFlight > 2*r.live+slack || r.sparse() && len(r.queue) > r.room*6/10 {
		return true
	}
	for _, m := range r.queue {
		if !m.retired.IsZero() && now.Sub(m.retired) > retiredAge {
			return true
		}
	}
	return false
}

// renew sends the live connections of the oldest messages once more at the end, as many as fit in
// one message, and then drops those messages. A process that is killed in between leaves some
// connections in the queue twice.
func (r *Ring) renew() error {
	m := &message{}
	for _, old := range r.queue {
		if len(m.entries)+old.live > perMessage {
			break
		}
		for _, e := range old.entries {
			if e.at == old {
				m.entries = append(m.entries, e)
			}
		}
	}
	if len(m.entries) > 0 {
		if err := r.send(m); err != nil {
			return err
		}
		for _, e := range m.entries {
			e.at.live--
			e.at = m
		}
	}
	return r.drop()
}

// send puts a message at the end of the queue. It does not change the entries.
func (r *Ring) send(m *message) error {
	fds := make([]int, len(m.entries))
	for i, e := range m.entries {
		fds[i] = int(e.fd)
	}
	err := r.sendmsg(r.in, unix.UnixRights(fds...))
	switch err {
	case nil:
	case unix.EAGAIN, unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM:
		return fmt.Errorf("%w: %w", ErrFull, os.NewSyscallError("sendmsg", err))
	default:
		return fmt.Errorf("enlist %d connections: %w", len(fds), os.NewSyscallError("sendmsg", err))
	}
	m.count, m.live = len(fds), len(fds)
	r.inFlight += m.count
	r.queue = append(r.queue, m)
	return nil
}

// sendRights sends one byte, the cheapest message that can carry descriptors.
func sendRights(fd int, oob []byte) error {
	for {
		err := unix.Sendmsg(fd, []byte{0}, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// drop takes messages without live connections from the head of the queue. They are read without a
// control buffer, so the kernel closes their descriptors.
func (r *Ring) drop() error {
	for len(r.queue) > 0 && r.queue[0].live == 0 {
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
