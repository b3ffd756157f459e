package daemon

import (
	"encoding/binary"
	"sync"

	"tcpmux/daemon/framing"
)

const (
	// ackChunk is about how many bytes of acknowledgements are sent at once.
	ackChunk = 1 << 10
	// ackKeep is how large a list of acknowledgements may be to be used again.
	ackKeep = 4 << 10
)

// acks are the acknowledgements that a client is due, for messages that stand one behind the other in its stream. What they say
// is made only when it is sent: so a client that does not take them costs about a byte for each message.
type acks struct {
	offset  int64  // where the first message begins
	lengths []byte // how long each is, as a uvarint
	text    []byte // what is being sent
}

// ackState is how far a talk is with its client's acknowledgements.
type ackState struct {
	form   template // bound to the session
	owed   *acks    // for messages that are not recorded yet; nil: none
	pieces int64    // bytes of a message whose last piece has not come
	mute   bool     // the client has been told that we will say no more, so no acknowledgement either
	deaf   error    // not nil: the client does not take its acknowledgements
}

// ackLists are lists that are not in use.
var ackLists = sync.Pool{New: func() any { return new(acks) }}

// owe notes that a message, or a piece of one, which begins at t.offset, is to be acknowledged once it is recorded. A message whose end
// was not waited for, or is none, is not: its client would take it for whole.
func (t *talk) owe(m *framing.Message) {
	if m.Flag == framing.Between { // no message
		return
	}
	t.ack.pieces += int64(m.Len())
	if m.Flag == framing.Piece {
		return
	}
	n := t.ack.pieces
	t.ack.pieces = 0
	if m.Flag == framing.Timeout || m.Flag == framing.Malformed || t.ack.mute || t.ack.deaf != nil {
		return
	}
	if t.ack.owed == nil {
		t.ack.owed = ackLists.Get().(*acks)
		t.ack.owed.offset = t.offset + int64(m.Len()) - n
	}
	t.ack.owed.lengths = binary.AppendUvarint(t.ack.owed.lengths, uint64(n))
}

// acknowledge sends the client what it is due, in order. Until it has taken that it is read no further; when it does not in time, or
// has gone, deaf says so.
func (t *talk) acknowledge() {
	if t.ack == nil || t.ack.owed == nil {
		return
	}
	due := t.ack.owed
	t.ack.owed = nil
	for left := due.lengths; len(left) > 0 && t.ack.deaf == nil; {
		due.text = due.text[:0]
		for len(left) > 0 && len(due.text) < ackChunk {
			n, size := binary.Uvarint(left)
			due.text = t.ack.form.appendTo(due.text, t.session, due.offset)
			due.offset += int64(n)
			left = left[size:]
		}
		t.ack.deaf = t.say(due.text, t.settings.AckTimeout)
	}
	if due.lengths = due.lengths[:0]; cap(due.lengths) <= ackKeep {
		ackLists.Put(due)
	}
}

// sayNoMore half-closes, when it is to finish, the connection of a client that waits for acknowledgements, once it has all that it
// is due: from then on what it sends is recorded and not acknowledged. Other clients are told at once.
func (t *talk) sayNoMore() {
	if t.acks() && !t.ack.mute && t.finishing.Load() && t.unread() <= t.waiting {
		t.ack.mute = true
		t.halfClose()
	}
}

// acks says whether the client is sent acknowledgements: where a program serves it, nobody but that speaks.
func (t *talk) acks() bool { return t.ack != nil }

// pieces is how many bytes are recorded of a message that will be acknowledged once its last piece is.
func (t *talk) pieces() int64 {
	if t.ack == nil {
		return 0
	}
	return t.ack.pieces
}

// deaf is not nil when the client does not take its acknowledgements.
func (t *talk) deaf() error {
	if t.ack == nil {
		return nil
	}
	return t.ack.deaf
}

// unheard ends a session whose client does not take its acknowledgements, or has gone; what it has said by now is recorded all the
// same.
func (t *talk) unheard() (reason, error) {
	why := byAck
	if t.over() {
		why = byDrain
	}
	return t.deafTo(t.ack.deaf, why)
}
