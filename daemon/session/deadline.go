package session

import (
	"time"

	"tcpmux/daemon/framing"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// due returns when the session has to do something as things stand: to end, and why, or to take a
// message that silence ends, for which there is no reason. The zero time is never.
func (r *Recorder) due() (at time.Time, why Reason) {
	b, end := r.s.Bounds.Load(), end{at: r.silentAt()}
	end.bound(r.relay.latest(r.heard.time()), b.Idle, ByIdle)
	end.bound(r.s.Opened, b.Session, ByAge)
	end.bound(r.begun.time(), b.Message, BySlow)
	return end.at, end.why
}

// end is when a session ends, and why.
type end struct {
	at  time.Time
	why Reason
}

// bound has the end be within after of a time, if both are set.
func (e *end) bound(from time.Time, after time.Duration, why Reason) {
	if at := from.Add(after); after > 0 && !from.IsZero() && (e.at.IsZero() || at.Before(e.at)) {
		e.at, e.why = at, why
	}
}

// silentAt returns when the message that is under way ends if nothing comes any more; the zero time
// if none is, or silence does not end one.
func (r *Recorder) silentAt() time.Time {
	s := &r.s.Settings.Framing
	if s.Kind != framing.Silence || r.waiting+len(r.moved) == 0 {
		return time.Time{}
	}
	return r.heard.time().Add(s.Silence)
}

// setDeadline has a wait return when the session is due to end. It is called again when a deadline
// came too early, not at every wait: a deadline costs more than the look at the clock that tells.
func (r *Recorder) setDeadline() {
	at, _ := r.due()
	if !at.IsZero() || r.deadline != 0 {
		r.s.Conn.SetReadDeadline(at)
		r.deadline = instantOf(at)
	}
}

// hasten sets the deadline anew when the session is due before it: a message has begun.
func (r *Recorder) hasten() {
	if at, _ := r.due(); !at.IsZero() && (r.deadline == 0 || instantOf(at) < r.deadline) {
		r.setDeadline()
	}
}

// woken returns why the session is over, after a deadline has passed or somebody has woken it; ""
// when it goes on.
func (r *Recorder) woken() Reason {
	if r.over() {
		return r.takeRest(ByDrain, framing.Timeout)
	}
	if r.s.Phase() == Leaving {
		return r.leave()
	}
	r.deadline = instantOf(longAgo)
	if r.pressed.Swap(false) {
		if err := r.yield(); err != nil {
			return BySink
		}
	}
	r.halfClose()
	if r.s.Resume.Unread > r.waiting { // whole messages may be among what came before us
		if err := r.takeArrived(); err != nil {
			return BySink
		}
	}
	if r.s.Conn.Unread() > max(r.waiting, r.s.Resume.Unread) {
		r.heard = instantOf(time.Now()) // it came just now
	}
	most := r.s.Bounds.Load().Bytes
	if most > 0 && r.s.offset+int64(len(r.moved)+r.s.Conn.Unread()) >= most {
		return r.takeRest(ByVolume, framing.Timeout)
	}
	return r.overdue()
}

// overdue returns why the session's time is over; "" when it is not, and the deadline is set.
func (r *Recorder) overdue() Reason {
	if at := r.silentAt(); !at.IsZero() && !time.Now().Before(at) {
		if err := r.takeSilent(); err != nil {
			return BySink
		}
	}
	at, why := r.due()
	if why == BySlow && !time.Now().Before(at) { // the rest may have come just now
		if err := r.takeArrived(); err != nil {
			return BySink
		}
		at, why = r.due()
	}
	if why != "" && !time.Now().Before(at) {
		return r.takeRest(why, framing.Timeout)
	}
	r.setDeadline()
	return ""
}

// takeSilent takes what has arrived as a whole message: nothing has come for so long. The client
// stays silent, unless something comes just now.
func (r *Recorder) takeSilent() error {
	b, quiet := r.borrow(), time.Since(r.heard.time())
	b.silent = true
	if room := r.room(len(r.in())); room > 0 && r.waiting > 0 {
		n, _ := r.s.Conn.Peek(r.in()[:room])
		b.n = max(n, 0)
	}
	if b.n > r.waiting {
		quiet = 0
	}
	err := r.take(framing.Timeout)
	r.heard -= instant(quiet)
	return err
}

// takeArrived takes what has arrived by now, as far as one peek shows it.
func (r *Recorder) takeArrived() error {
	b := r.borrow()
	if room := r.room(len(r.in())); room > 0 {
		n, _ := r.s.Conn.Peek(r.in()[:room])
		b.n = max(n, 0)
	}
	if b.n <= r.waiting {
		r.letGo()
		return nil
	}
	return r.take(framing.Timeout)
}
