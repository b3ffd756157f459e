package session

import (
	"slices"
	"time"

	"tcpmux/daemon/state"
)

// gather gives the sink what is encoded so far.
func (r *Recorder) gather() error {
	r.buf.tapped = r.s.Env.Tap.Take(r.buf.tapped, &r.s.Source, r.buf.out)
	r.s.Await(ForSink)
	_, err := r.s.Settings.Sink.Gather(r.buf.out, r.s)
	r.s.Await(ForClient)
	r.buf.out = r.buf.out[:0]
	return err
}

// recorded handles what there is, of which n bytes are in records, and returns how many the socket
// will be done with.
func (r *Recorder) recorded(n int) (done int) {
	data := r.data()
	if r.relay != nil {
		r.relay.owe(data[:n], len(r.moved) > 0)
	}
	if r.echo != nil {
		r.echo.owe(data[:n], len(r.moved) > 0)
	}
	done = r.keep(data[n:])
	if r.s.Resume.Unread > 0 {
		r.s.Resume.Unread = max(r.s.Resume.Unread-done, 0)
	}
	return done
}

// keep handles rest, the end of what is seen, and returns how many bytes the socket is done with.
// rest waits in the socket, unless it was moved before, is long, or is in the way.
func (r *Recorder) keep(rest []byte) (done int) {
	saw := r.buf.n
	switch {
	case r.stays(rest):
		r.moved, r.waiting, done = nil, len(rest), saw-len(rest)
	case len(rest) == len(r.moved): // it is there already
		r.waiting, done = 0, saw
	case len(rest) < cap(r.moved)/2:
		r.moved, r.waiting, done = slices.Clone(rest), 0, saw
	default:
		r.moved, r.waiting, done = append(r.moved[:0], rest...), 0, saw
	}
	r.s.SetPartial(r.waiting + len(r.moved))
	if n := cap(r.moved); n != r.spilled {
		r.s.Env.Spill.hold(r, n)
	}
	return done
}

// stays reports whether rest may wait in the socket, where all of it still is. That of a unix
// socket knows no low water: it would be readable all the while.
func (r *Recorder) stays(rest []byte) bool {
	return len(rest) <= min(r.buf.n, moveSize) && !r.buf.move && !r.s.Unix
}

// commit has the session's records since first written, by way of its buffer, which it gives back.
func (r *Recorder) commit(first int64) error {
	b := r.buf
	r.buf = nil
	return r.s.Commit(b, first)
}

// consume removes from the socket what is written. more reports that there are messages among it,
// fresh what encodeAll does. The client is acknowledged first: one that outlives us is rather
// acknowledged twice than never.
func (r *Recorder) consume(done int, more, fresh bool) error {
	if r.ack != nil {
		r.acknowledge()
	}
	if r.echo != nil {
		if err := r.sendBack(); err != nil {
			return err
		}
	}
	if err := r.s.checkpoints().Save(r.Tally(), more, r.moved); err != nil {
		return err
	}
	if r.relay != nil {
		done -= r.handOn()
	}
	_ = r.s.Conn.Discard(done) // the next peek tells
	r.expect(r.waiting + 1)
	if fresh { // else the silence goes on
		r.hear()
	}
	switch {
	case r.waiting+len(r.moved) == 0, r.between:
		r.begun = 0
	case more || r.begun == 0:
		r.begun = r.heard
		r.hasten()
	}
	return nil
}

// hear notes that the client was heard: when what is written now was seen, or now where that
// matters, as the silence was ours while the sink had us wait.
func (r *Recorder) hear() {
	if r.deadline != 0 || r.s.Bounds.Load().Message > 0 {
		r.heard = instantOf(time.Now())
		return
	}
	r.heard = instant(r.s.shown.began)
}

// expect has the kernel call the socket readable when it holds n bytes. It also does when it has no
// room for more.
func (r *Recorder) expect(n int) {
	if n == int(max(r.lowat, 1)) {
		return
	}
	r.lowat = int32(n) // no receive buffer is larger
	r.s.Conn.SetLowWater(n)
}

// Tally returns how far the session has come.
func (r *Recorder) Tally() state.Tally {
	t := state.Tally{Offset: r.s.offset, Records: r.s.records, Framing: r.framer.Memory()}
	if r.ack != nil {
		t.Pieces = r.ack.pieces
	}
	return t
}
