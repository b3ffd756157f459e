package ring

import (
	"fmt"
	"os"
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
	// messageSize is what a message of one byte is charged to the send buffer.
	messageSize = 768
)

// message is one in the queue.
type message struct {
	entries []*Entry // those that count here are the ones that name this message
	count   int      // descriptors
	living  int
	dead    time.Time // when the first of its entries was retired; zero: never
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
