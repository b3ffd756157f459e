package session

import (
	"os"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/tlsconn"
)

// takeLast handles a peek that shows the end: of the stream, of what a session may send, or by an
// error.
func (r *Recorder) takeLast() (Reason, error) {
	if r.buf.full {
		if err := r.take(framing.Timeout); err != nil {
			return BySink, err
		}
		return ByVolume, r.malformed
	}
	err := r.buf.err
	r.letGo()
	if err != nil {
		err = os.NewSyscallError("recv", err)
		return r.finish(ReasonOf(err, ByError), err)
	}
	return r.finish(ByEOF, nil)
}

// giveUp ends a session whose client does not take what it is sent, or has gone, or does not
// keep to the framing. What it has sent by now is recorded all the same.
func (r *Recorder) giveUp() (Reason, error) {
	if r.unheard() {
		why := ByAck
		if r.s.Phase() >= Leaving || r.over() {
			why = ByDrain
		}
		if r.echo != nil {
			return r.endUnheard(r.echo.failed, why)
		}
		return r.endUnheard(r.ack.unheard, why)
	}
	return r.takeRest(ByMalformed, framing.Malformed), r.malformed
}

// endUnheard ends a session whose client did not take what it was sent; what it has sent by now is
// recorded all the same. why is the reason unless the client has gone.
func (r *Recorder) endUnheard(err error, why Reason) (Reason, error) {
	flag := framing.Timeout
	if gone := ReasonOf(err, why); gone != why {
		why, flag = gone, framing.EOF
	}
	return r.takeRest(why, flag), err
}

// finish records what was moved out of a socket that has nothing more to give. why stays the reason
// unless the sink fails.
func (r *Recorder) finish(why Reason, err error) (Reason, error) {
	if len(r.moved) == 0 {
		return why, err
	}
	r.borrow().last = true
	if err := r.take(framing.EOF); err != nil {
		return BySink, err
	}
	return why, err
}

// over reports whether it is time to end: the time to finish is over, or no program is left to talk
// to.
func (r *Recorder) over() bool {
	return r.s.Phase() == Over || r.relay != nil && r.relay.gone.Load()
}

// takeRest records what has arrived by now, and no more, when the time to finish is over: with flag
// what is no whole message. It returns why, unless the sink fails.
func (r *Recorder) takeRest(why Reason, flag framing.Flag) Reason {
	for left := r.room(r.arrived()); left > 0 || len(r.moved) > 0; {
		b := r.borrow()
		n, _ := r.s.Conn.Peek(r.in())
		n = min(max(n, 0), left)
		left -= n
		b.n, b.move, b.last = n, true, n == 0 || left == 0
		last := b.last
		if err := r.take(flag); err != nil {
			return BySink
		}
		if last {
			break
		}
	}
	return why
}

// restSize bounds what is taken at the end of a stream of TLS, as the client may go on sending:
// more than a receive buffer holds (tcp(7), tcp_rmem).
const restSize = 8 << 20

// arrived returns how many bytes have arrived by now. Of TLS it may be more, as what is not
// decrypted yet cannot be counted.
func (r *Recorder) arrived() int {
	n := r.s.Conn.Unread()
	if _, secured := r.s.Conn.(*tlsconn.Conn); secured && n >= tlsconn.MaxUnread {
		return restSize
	}
	return n
}

// leave leaves the client to the next process. The beginning of a message that is out of the kernel
// is kept for it, or would be lost with us: then it is recorded as a piece.
func (r *Recorder) leave() Reason {
	if len(r.moved) > 0 && !r.s.checkpoints().Saved(r.s.offset, len(r.moved)) {
		first := r.s.records
		r.borrow()
		r.start()
		for len(r.moved) > 0 {
			r.buf.framed = r.framer.Part(r.moved)
			r.moved = r.moved[r.buf.framed.Len():]
			r.encode()
		}
		if err := r.commit(first); err != nil {
			return BySink
		}
		r.s.Slot.Count(r.Tally())
	}
	return ByLeave
}
