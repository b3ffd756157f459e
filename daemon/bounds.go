package daemon

import (
	"encoding/binary"
	"io"
	"math"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/framing"
)

// bounds are what ends a session whose client does not: how long it may go on, and how much it may send. 0 is no bound.
type bounds struct {
	idle    time.Duration // without a word
	session time.Duration // in all
	message time.Duration // from the first byte of a message to its end, or that of a piece of it
	bytes   int64
}

// bounds are those in force now, also for sessions that began under others.
func (s *session) bounds() bounds {
	l := s.listener.settings.Load()
	return bounds{l.IdleTimeout, l.Limits.MaxSession, l.Limits.MessageTimeout, l.Limits.MaxSessionBytes}
}

// boundsSize is how long bounds are on the way to a session's process.
const boundsSize = 4 * 8

func (b bounds) appendTo(dst []byte) []byte {
	for _, n := range [...]int64{int64(b.idle), int64(b.session), int64(b.message), b.bytes} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return dst
}

func readBounds(in io.Reader) (bounds, error) {
	var raw [boundsSize]byte
	_, err := io.ReadFull(in, raw[:])
	at := func(i int) int64 { return int64(min(binary.BigEndian.Uint64(raw[8*i:]), math.MaxInt64)) }
	return bounds{time.Duration(at(0)), time.Duration(at(1)), time.Duration(at(2)), at(3)}, err
}

// bind makes b what holds in a session's process.
func (c *clerk) bind(b bounds) {
	old := c.listener.settings.Load()
	c.listener.configure(config.Listener{IdleTimeout: b.idle, Limits: config.ListenerLimits{
		Policy: config.Policy{MaxSession: b.session, MessageTimeout: b.message, MaxSessionBytes: b.bytes},
	}}, 0)
	next := c.listener.settings.Load()
	next.banner, next.framing = old.banner, old.framing
}

// due is when the session has to end as things stand, and why; the zero time is never.
func (t *talk) due() (at time.Time, why reason) {
	b := t.bounds()
	for _, c := range [...]struct {
		from  time.Time
		after time.Duration
		why   reason
	}{{t.heard, b.idle, byIdle}, {t.opened, b.session, byAge}, {t.begun, b.message, bySlow}} {
		if end := c.from.Add(c.after); c.after > 0 && !c.from.IsZero() && (at.IsZero() || end.Before(at)) {
			at, why = end, c.why
		}
	}
	return at, why
}

// setDeadline has a read that waits return when the session is due to end, or at once when somebody has woken it before. It is
// called again when a deadline came too early, not at every read: a deadline costs more than the look at the clock that tells.
func (t *talk) setDeadline() {
	at, _ := t.due()
	if !at.IsZero() || !t.deadline.IsZero() {
		t.setReadDeadline(at)
		t.deadline = at
	}
	if t.over() || t.leaving.Load() || t.pressed.Load() { // it may have come between: the deadline for these is set only once
		t.wake()
	}
}

// hasten sets the deadline anew when the session is due before it: a message has begun.
func (t *talk) hasten() {
	if at, _ := t.due(); !at.IsZero() && (t.deadline.IsZero() || at.Before(t.deadline)) {
		t.setDeadline()
	}
}

// woken says why the session is over, after a deadline has passed or somebody has woken it; "" when it goes on.
func (t *talk) woken() reason {
	if t.leaving.Load() {
		return t.depart()
	}
	if t.over() {
		return t.lastWords(byDrain, framing.Timeout)
	}
	t.deadline = longAgo
	if t.pressed.Swap(false) {
		if err := t.yield(); err != nil {
			return bySink
		}
	}
	t.sayNoMore()
	if t.past.unread > t.waiting { // whole messages may be among what came before us
		if err := t.hearOut(); err != nil {
			return bySink
		}
	}
	if t.unread() > max(t.waiting, t.past.unread) {
		t.heard = time.Now() // it came just now
	}
	if most := t.bounds().bytes; most > 0 && t.offset+int64(len(t.moved)+t.unread()) >= most {
		return t.lastWords(byVolume, framing.Timeout)
	}
	at, why := t.due()
	if why == bySlow && !time.Now().Before(at) { // the rest may have come just now
		if err := t.hearOut(); err != nil {
			return bySink
		}
		at, why = t.due()
	}
	if !at.IsZero() && !time.Now().Before(at) {
		return t.lastWords(why, framing.Timeout)
	}
	t.setDeadline()
	return ""
}

// hearOut takes what has arrived by now, as far as one look shows it.
func (t *talk) hearOut() error {
	ws := t.borrow()
	if room := t.room(len(ws.in)); room > 0 {
		n, _ := peek(t.fd, ws.in[:room])
		ws.n = max(n, 0)
	}
	if ws.n <= t.waiting {
		t.letGo()
		return nil
	}
	return t.take(framing.Timeout)
}

// room is how many bytes, n at most, may be seen of the socket; those that wait there are among them.
func (t *talk) room(n int) int {
	most := t.bounds().bytes
	if most == 0 {
		return n
	}
	return int(min(max(most-t.offset-int64(len(t.moved)), 0), int64(n)))
}
