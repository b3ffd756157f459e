package daemon

import (
	"os"

	"tcpmux/daemon/framing"
)

// hearLast sees to a look that shows the end: of the stream, of what a session may send, or by an error.
func (t *talk) hearLast() (reason, error) {
	if t.ws.full {
		if err := t.take(framing.Timeout); err != nil {
			return bySink, err
		}
		return byVolume, t.malformed
	}
	err := t.ws.err
	t.letGo()
	if err != nil {
		err = os.NewSyscallError("recv", err)
		return t.finish(reasonOf(err, byError), err)
	}
	return t.finish(byEOF, nil)
}

// giveUp ends a session whose client does not take its acknowledgements, or does not keep to the framing.
func (t *talk) giveUp() (reason, error) {
	if t.deaf() != nil {
		return t.unheard()
	}
	return t.lastWords(byMalformed, framing.Malformed), t.malformed
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

// finish records what was moved out of a socket that has nothing more to give. why stays the reason unless the sink fails.
func (t *talk) finish(why reason, err error) (reason, error) {
	if len(t.moved) == 0 {
		return why, err
	}
	t.borrow().last = true
	if err := t.take(framing.EOF); err != nil {
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
		ws := t.borrow()
		n, _ := peek(t.fd, ws.in)
		n = min(max(n, 0), left)
		left -= n
		ws.n, ws.move, ws.last = n, true, n == 0 || left == 0
		last := ws.last
		if err := t.take(flag); err != nil {
			return bySink
		}
		if last {
			break
		}
	}
	return why
}

// depart leaves the client to the next process. The beginning of a message that is out of the kernel is on the shelf, or would be lost
// with us: then it is recorded as a piece.
func (t *talk) depart() reason {
	if len(t.moved) > 0 && !t.noted() {
		first := t.records
		t.borrow()
		t.start()
		for len(t.moved) > 0 {
			t.ws.framed = t.framing.Part(t.moved)
			t.moved = t.moved[t.ws.framed.Len():]
			t.encode()
		}
		if err := t.hand(first); err != nil {
			return bySink
		}
		t.slot.Count(t.tally())
	}
	t.past = &past{framing: t.framing.Memory(), pieces: t.pieces()}
	return byLeave
}
