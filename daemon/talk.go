package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
	"tcpmux/daemon/state"
)

// talk serves a client by a goroutine: it looks at what the client says, cuts it into messages, records them, and only then
// takes them from the socket. Until then they are in the kernel's keeping, which outlives ours.
type talk struct {
	*session
	stream
	framing   framing.Framer
	heard     time.Time // when the client last sent something
	greeted   atomic.Bool
	begun     time.Time   // when the first byte of the message came that is under way; zero: none is
	deadline  time.Time   // the read deadline that is set; zero: none
	waiting   int         // bytes at the head of the socket that were seen and are no whole message yet
	lowat     int         // SO_RCVLOWAT of the socket; 0: never set
	moved     []byte      // the beginning of a message too long to wait in the kernel for its end; nil when there is none
	held      int         // how much of the server's memory for partial messages that takes
	pressed   atomic.Bool // it takes too much of it
	malformed error       // not nil: the client does not keep to the framing
	relay     *relay      // hands on what is recorded; nil: to nobody
	ack       ackState

	// What one look gave, between the poller's callback and receive.
	onReadable func(fd uintptr) bool
	got        sight
	errno      error
}

// moveSize is how long the beginning of a message may be to wait in the kernel for its end. It is far below the least receive
// buffer that there is by default (tcp(7), tcp_rmem), and bounds what is seen again with each piece of a message.
const moveSize = 16 << 10

// newTalk makes a talk whose goroutine sleeps in Go's poller.
func newTalk(s *session, fd int) (*talk, error) {
	st, err := newPolled(fd)
	if err != nil {
		return nil, err
	}
	return talkOver(s, st), nil
}

func talkOver(s *session, st stream) *talk {
	t := &talk{session: s, stream: st, framing: s.settings.framing.New()}
	t.onReadable = t.look
	return t
}

// serve implements model: it greets, then records message after message.
func (t *talk) serve() (reason, error) {
	greeting := t.greet()
	t.ack.form = t.settings.ack.bind(t.session)
	t.greeted.Store(true)
	if t.finishing.Load() { // drain tells only who has been greeted by then
		t.drain()
	}
	if why, err := t.begin(greeting); why != "" {
		return why, err
	}
	return t.listen()
}

// begin records that the session begins, with a client that took its greeting or did not. A reason is that it ends already.
func (t *talk) begin(greeting error) (reason, error) {
	if err := t.open(); err != nil {
		return bySink, err
	}
	if greeting != nil {
		return t.deafTo(greeting, byBanner)
	}
	return "", nil
}

// listen records message after message.
func (t *talk) listen() (reason, error) {
	defer t.server.partials.hold(t, 0)
	t.heard = time.Now() // the silence until here was ours
	if !t.past.heard.IsZero() {
		t.heard = t.past.heard
	}
	t.framing.Recall(t.past.framing)
	if t.moved = t.past.moved; t.moved != nil {
		t.past.moved = nil
		t.server.partials.hold(t, cap(t.moved))
		t.begun = t.heard
	}
	t.setDeadline()
	for {
		saw, err := t.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if why, over := t.woken(); over {
				return why, nil
			}
			if t.ack.deaf != nil {
				return t.unheard()
			}
		case err != nil:
			return t.finish(reasonOf(err, byError), err)
		case saw.full:
			if err := t.take(saw, framing.Timeout); err != nil {
				return bySink, err
			}
			return byVolume, t.malformed
		case saw.n == 0:
			t.server.workspaces.put(saw.ws)
			return t.finish(byEOF, nil)
		default:
			if err := t.take(saw, framing.EOF); err != nil {
				return bySink, err
			}
			if t.ack.deaf != nil {
				return t.unheard()
			}
			if t.malformed != nil {
				return t.lastWords(byMalformed, framing.Malformed), t.malformed
			}
			t.sayNoMore()
		}
	}
}

// deafTo ends a session whose client did not take what it was sent; what it has said by now is recorded all the same. why is the
// reason unless the client has gone.
func (t *talk) deafTo(err error, why reason) (reason, error) {
	flag := framing.Timeout
	if gone := reasonOf(err, why); gone != why {
		why, flag = gone, framing.EOF
	}
	return t.lastWords(why, flag), err
}

// take records the messages that are seen, and then takes them from the socket. What is no whole message yet waits there, or is
// recorded with flag when no more will come.
func (t *talk) take(saw sight, flag framing.Flag) error {
	now := time.Now()
	saw.ws.encoder.Begin(&t.source, now)
	first := t.records
	data := saw.ws.in[:saw.n]
	if len(t.moved) > 0 {
		t.moved = append(t.moved, data...)
		data = t.moved
	}
	t.slot.SetBusy(true)
	rest, err := t.cut(saw, data, flag)
	t.slot.SetBusy(false)
	if err != nil {
		t.server.workspaces.put(saw.ws)
		return t.fail(first, err)
	}
	recorded := len(data) - len(rest)
	kept := t.keepRecorded(data[:recorded])
	began := len(rest) > 0 && (t.begun.IsZero() || t.records > first)
	old := t.records == first && saw.n <= t.past.unread // nothing has come since the process before
	done := t.keep(saw, rest)
	t.past.unread = max(t.past.unread-done, 0)
	if err := t.hand(saw.ws, first); err != nil {
		return err
	}
	t.slot.Shelve(t.offset, t.moved)
	t.acknowledge() // before they leave the kernel: a client that outlives us is acknowledged rather twice than never
	done -= t.handOn(kept, recorded)
	if t.records > first {
		t.slot.Count(t.tally())
	}
	t.control(func(fd uintptr) {
		_ = discard(fd, done) // the next look tells
		t.expect(fd, t.waiting+1)
	})
	switch {
	case old: // the silence goes on
	case t.deadline.IsZero():
		t.heard = now
	default:
		t.heard = time.Now() // while the sink had us wait, the silence was ours
	}
	switch {
	case len(rest) == 0:
		t.begun = time.Time{}
	case began:
		t.begun = t.heard
		t.hasten()
	}
	return nil
}

// tally is how far the session has come.
func (t *talk) tally() state.Tally {
	return state.Tally{Offset: t.offset, Records: t.records, Framing: t.framing.Memory()}
}

// cut encodes the messages in data and returns what is none yet. Output that has become long goes to the sink.
func (t *talk) cut(saw sight, data []byte, flag framing.Flag) (rest []byte, err error) {
	for ended := false; ; {
		var m framing.Message
		if !ended {
			m = t.framing.Next(data)
			ended = m.Len() == 0 && saw.last
		}
		if ended {
			m = t.framing.Rest(data, flag)
		}
		if m.Len() == 0 && !ended && len(data) > minPiece && !t.fits(saw, data) {
			m = t.framing.Part(data[:len(data)-1]) // a byte is left to say how the message ended
		}
		if m.Len() == 0 {
			return data, nil
		}
		t.encode(saw.ws, m)
		data = data[m.Len():]
		if len(saw.ws.out) >= outSize {
			if _, err := t.server.sink.Gather(saw.ws.out); err != nil {
				return nil, err
			}
			saw.ws.out = saw.ws.out[:0]
		}
	}
}

// keep sees to rest, the end of what is seen, and returns how many bytes the socket is done with. rest waits in the socket, but
// for what has been moved before, is long, or is in the way.
func (t *talk) keep(saw sight, rest []byte) (done int) {
	switch {
	case t.stays(saw, rest):
		t.moved, t.waiting, done = nil, len(rest), saw.n-len(rest)
	case len(rest) == len(t.moved): // it is there already
		t.waiting, done = 0, saw.n
	case len(rest) < cap(t.moved)/2:
		t.moved, t.waiting, done = slices.Clone(rest), 0, saw.n
	default:
		t.moved, t.waiting, done = append(t.moved[:0], rest...), 0, saw.n
	}
	t.server.partials.hold(t, cap(t.moved))
	return done
}

// stays says whether rest may wait in the socket, where all of it still is.
func (t *talk) stays(saw sight, rest []byte) bool {
	return len(rest) <= min(saw.n, moveSize) && !saw.move
}

// encode appends one message to the workspace's output.
func (t *talk) encode(ws *workspace, m framing.Message) {
	crashOn(m.Data())
	if m.Flag == framing.Malformed && t.malformed == nil {
		t.malformed = fmt.Errorf("no %s message begins at byte %d", t.settings.framing.Kind, t.offset)
	}
	t.message(ws, record.Message{Offset: t.offset, Raw: m.Raw, HeadLen: m.HeadLen, EndLen: m.EndLen, Flag: m.Flag.String()})
	if t.acks() {
		t.owe(m)
	}
	t.offset += int64(m.Len())
}

// finish records what was moved out of a socket that has nothing more to give. why stays the reason unless the sink fails.
func (t *talk) finish(why reason, err error) (reason, error) {
	if len(t.moved) == 0 {
		return why, err
	}
	if err := t.take(sight{ws: t.server.workspaces.get(), last: true}, framing.EOF); err != nil {
		return bySink, err
	}
	return why, err
}

// over says whether it is time to end: that to finish is over, or there is no program left to talk to.
func (t *talk) over() bool {
	return t.overdue.Load() || t.relay != nil && t.relay.gone.Load()
}

// lastWords records what has arrived by now, and no more, when the time to finish is over: with flag what is no whole message.
// It returns why, unless the sink fails.
func (t *talk) lastWords(why reason, flag framing.Flag) reason {
	for left := t.room(t.unread()); left > 0 || len(t.moved) > 0; {
		saw := sight{ws: t.server.workspaces.get(), move: true} // before control, which others wait for
		t.control(func(fd uintptr) { saw.n, _ = peek(fd, saw.ws.in) })
		saw.n = min(max(saw.n, 0), left)
		saw.last = saw.n == 0 || saw.n == left
		if err := t.take(saw, flag); err != nil {
			return bySink
		}
		if left -= saw.n; saw.last {
			break
		}
	}
	return why
}

// unread is how many bytes have arrived and were not taken from the socket.
func (t *talk) unread() (n int) {
	t.control(func(fd uintptr) { n = unread(fd) })
	return n
}

// drain implements model.
func (t *talk) drain() {
	switch {
	case !t.greeted.Load(): // serve does it then
	case t.acks():
		t.wake() // it says no more once there is nothing to acknowledge
	default:
		t.halfClose()
	}
}

// halfClose tells the client that we will say no more.
func (t *talk) halfClose() {
	t.control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }) // a peer that has gone need not be told
}

// handOver implements model.
func (t *talk) handOver() { t.wake() }

// depart leaves the client to the next process. The beginning of a message that is out of the kernel is on the shelf, or would be lost
// with us: then it is recorded as a piece.
func (t *talk) depart() reason {
	if len(t.moved) > 0 && !t.slot.Shelved(t.offset, len(t.moved)) {
		ws, first := t.server.workspaces.get(), t.records
		ws.encoder.Begin(&t.source, time.Now())
		for len(t.moved) > 0 {
			m := t.framing.Part(t.moved)
			t.encode(ws, m)
			t.moved = t.moved[m.Len():]
		}
		if err := t.hand(ws, first); err != nil {
			return bySink
		}
		t.slot.Count(t.tally())
	}
	t.past.framing = t.framing.Memory()
	return byLeave
}

// nudge implements model.
func (t *talk) nudge() { t.wake() }
