package daemon

import (
	"fmt"
	"slices"
	"time"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/state"
)

// moveSize is how long the beginning of a message may be to wait in the kernel for its end. It is far below the least receive
// buffer that there is by default (tcp(7), tcp_rmem), and bounds what is seen again with each piece of a message.
const moveSize = 16 << 10

// take records the messages that are seen, and then takes them from the socket. What is no whole message yet waits there, or is
// recorded with flag when no more will come.
func (t *talk) take(flag framing.Flag) error {
	first, from := t.records, t.offset
	fresh, done, err := t.record(flag)
	if err != nil {
		t.letGo()
		return t.fail(first, err)
	}
	if err := t.hand(first); err != nil {
		return err
	}
	return t.consume(done, t.offset > from, fresh)
}

// record makes records, which hand is to have written, of the messages that are seen. It returns whether anything has come since the
// process before, and how many bytes the socket will be done with.
func (t *talk) record(flag framing.Flag) (fresh bool, done int, err error) {
	first := t.records
	t.start()
	n, err := t.cut(flag)
	if err != nil {
		return false, 0, err
	}
	t.between = t.ws.framed.Flag == framing.Between // that is what fill has found last

	if fresh = t.records > first || t.ws.n > t.past.unread; fresh { // else the silence goes on
		t.heard = t.ws.now
	}
	return fresh, t.recorded(n), nil
}

// start has what is seen be the end of what there is, and the records that are made of it show this moment.
func (t *talk) start() {
	t.ws.now = time.Now()
	t.ws.encoder.Begin(&t.source, t.ws.now)
	if len(t.moved) > 0 {
		t.moved = append(t.moved, t.ws.in[:t.ws.n]...)
	}
}

// data is what there is of the stream from the first message on that is not recorded.
func (t *talk) data() []byte {
	if len(t.moved) > 0 {
		return t.moved
	}
	return t.ws.in[:t.ws.n]
}

// cut encodes the messages that there are and returns how many bytes they are. Output that has become long goes to the sink, which
// may take its time: the session is busy with its client's bytes only in between.
func (t *talk) cut(flag framing.Flag) (n int, err error) {
	for more := true; more; {
		t.setBusy(true)
		n, more = t.fill(n, flag)
		t.setBusy(false)
		if more {
			if err := t.gather(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// fill encodes the messages behind the first n bytes until the output is long, and returns how many bytes are encoded by then. It
// reports whether there may be more messages.
func (t *talk) fill(n int, flag framing.Flag) (int, bool) {
	for t.next(n, flag) {
		n += t.ws.framed.Len()
		t.encode()
		if len(t.ws.out) >= outSize {
			return n, true
		}
	}
	return n, false
}

// next makes the first message behind n bytes what is encoded next; it says false when there is none.
func (t *talk) next(n int, flag framing.Flag) bool {
	ws, data := t.ws, t.data()[n:]
	if left := t.past.cut - t.offset; 0 < left && left <= int64(len(data)) {
		return t.again(data[:left])
	}
	if !ws.rest {
		ws.framed = t.framing.Next(data)
		ws.rest = ws.framed.Len() == 0 && ws.last
	}
	switch {
	case ws.rest:
		ws.framed = t.framing.Rest(data, flag)
	case ws.framed.Len() == 0 && len(data) > minPiece && !t.fits(data):
		ws.framed = t.framing.Part(data[:len(data)-1]) // a byte is left to say how the message ended
	}
	return ws.framed.Len() > 0
}

// again makes the first message in data what is encoded next. The process before has recorded all of data, so what of it is no whole
// message was a piece.
func (t *talk) again(data []byte) bool {
	ws := t.ws
	if ws.framed = t.framing.Next(data); ws.framed.Len() == 0 {
		ws.framed = t.framing.Part(data)
	}
	return true
}

// encode appends one message to the workspace's output.
func (t *talk) encode() {
	m, to := &t.ws.framed, &t.ws.message
	crashOn(m.Data())
	if m.Flag == framing.Malformed {
		t.complain()
	}
	to.Offset, to.Raw, to.HeadLen, to.EndLen, to.Flag = t.offset, m.Raw, int(m.HeadLen), int(m.EndLen), m.Flag.String()
	t.message(t.ws)
	if t.acks() {
		t.owe(m)
	}
	t.offset += int64(m.Len())
}

// complain notes that the client does not keep to the framing.
func (t *talk) complain() {
	if t.malformed == nil {
		t.malformed = fmt.Errorf("no %s message begins at byte %d", t.settings.framing.Kind, t.offset)
	}
}

// gather gives the sink what is encoded so far.
func (t *talk) gather() error {
	_, err := t.server.sink.Gather(t.ws.out, t.session)
	t.ws.out = t.ws.out[:0]
	return err
}

// recorded sees to what there is, of which n bytes are in records, and returns how many the socket will be done with.
func (t *talk) recorded(n int) (done int) {
	data := t.data()
	if t.relay != nil {
		t.relay.owe(data[:n], len(t.moved) > 0)
	}
	done = t.keep(data[n:])
	if t.past.unread > 0 {
		t.past.unread = max(t.past.unread-done, 0)
	}
	return done
}

// keep sees to rest, the end of what is seen, and returns how many bytes the socket is done with. rest waits in the socket, but
// for what has been moved before, is long, or is in the way.
func (t *talk) keep(rest []byte) (done int) {
	saw := t.ws.n
	switch {
	case t.stays(rest):
		t.moved, t.waiting, done = nil, len(rest), saw-len(rest)
	case len(rest) == len(t.moved): // it is there already
		t.waiting, done = 0, saw
	case len(rest) < cap(t.moved)/2:
		t.moved, t.waiting, done = slices.Clone(rest), 0, saw
	default:
		t.moved, t.waiting, done = append(t.moved[:0], rest...), 0, saw
	}
	t.server.partials.hold(t, cap(t.moved))
	return done
}

// stays says whether rest may wait in the socket, where all of it still is.
func (t *talk) stays(rest []byte) bool {
	return len(rest) <= min(t.ws.n, moveSize) && !t.ws.move
}

// hand has the session's records since first written, by way of its workspace, which it gives back.
func (t *talk) hand(first int64) error {
	ws := t.ws
	t.ws = nil
	return t.session.hand(ws, first)
}

// consume takes from the socket what is written. more says that there are messages among it, fresh what record does.
func (t *talk) consume(done int, more, fresh bool) error {
	t.acknowledge() // before they leave the kernel: a client that outlives us is acknowledged rather twice than never
	if err := t.note(more); err != nil {
		return err
	}
	if t.relay != nil {
		done -= t.handOn()
	}
	_ = discard(t.fd, done) // the next look tells
	t.expect(t.waiting + 1)
	if fresh && !t.deadline.IsZero() {
		t.heard = time.Now() // while the sink had us wait, the silence was ours
	}
	switch {
	case t.waiting+len(t.moved) == 0, t.between:
		t.begun = time.Time{}
	case more || t.begun.IsZero():
		t.begun = t.heard
		t.hasten()
	}
	return nil
}

// note keeps, where a crash of ours does not reach it, how far the session has come, if it has, and then what is about to leave the
// kernel: who finds the first without the second knows that the kernel still has it. After an error it has to stay there.
func (t *talk) note(more bool) error {
	if t.server.notes != nil {
		return t.server.notes.take(t.tally(), t.acks() && more, t.moved)
	}
	if more {
		t.slot.Count(t.tally())
	}
	t.slot.Shelve(t.offset, t.moved)
	return nil
}

// noted says whether the beginning of a message that is out of the kernel is kept beyond our end.
func (t *talk) noted() bool {
	if t.server.notes != nil {
		return t.server.notes.keep(t.offset, len(t.moved))
	}
	return t.slot.Shelved(t.offset, len(t.moved))
}

// tally is how far the session has come.
func (t *talk) tally() state.Tally {
	return state.Tally{Offset: t.offset, Records: t.records, Framing: t.framing.Memory(), Pieces: t.pieces()}
}
