package session

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

// acks are the acknowledgements that a client is due, for messages in the order of its stream.
// Their texts are made only when they are sent: so a client that does not take them costs about a
// byte for each message.
type acks struct {
	offset int64 // where the first message begins
	// lengths has how long each message is, as a uvarint. A 0 stands before the length of what
	// is between messages.
	lengths []byte
	text    []byte // what is being sent
}

// ackState is how far a session is with its client's acknowledgements.
type ackState struct {
	form    Template // bound to the session
	owed    *acks    // for messages that are not recorded yet; nil: none
	pieces  int64    // bytes of a message whose last piece has not come
	unheard error    // not nil: the client does not take its acknowledgements
}

// ackLists are lists that are not in use.
var ackLists = sync.Pool{New: func() any { return new(acks) }}

// owe notes that a message, or a piece of one, which begins at r.s.offset, is to be acknowledged
// once it is recorded. A message whose end was not waited for, or is none, is not: its client would
// take it for whole.
func (r *Recorder) owe(m *framing.Message) {
	if m.Flag == framing.Between { // no message
		if r.ack.owed != nil {
			r.ack.owed.lengths = binary.AppendUvarint(append(r.ack.owed.lengths, 0), uint64(m.Len()))
		}
		return
	}
	r.ack.pieces += int64(m.Len())
	if m.Flag == framing.Piece {
		return
	}
	n := r.ack.pieces
	r.ack.pieces = 0
	if m.Flag == framing.Timeout || m.Flag == framing.Malformed || r.farewell || r.ack.unheard != nil {
		return
	}
	if r.ack.owed == nil {
		r.ack.owed = ackLists.Get().(*acks)
		r.ack.owed.offset = r.s.offset + int64(m.Len()) - n
	}
	r.ack.owed.lengths = binary.AppendUvarint(r.ack.owed.lengths, uint64(n))
}

// next appends to the text what left begins with, and returns what is left.
func (a *acks) next(left []byte, form Template, s *Session) []byte {
	between := left[0] == 0
	if between {
		left = left[1:]
	}
	n, size := binary.Uvarint(left)
	if !between {
		a.text = form.appendTo(a.text, s, extent{a.offset, int64(n)})
	}
	a.offset += int64(n)
	return left[size:]
}

// acknowledge sends the client what it is due, in order. Until it has taken that it is read no
// further; when it does not in time, or has gone, unheard tells.
func (r *Recorder) acknowledge() {
	due := r.ack.owed
	if due == nil {
		return
	}
	r.ack.owed = nil
	for left := due.lengths; len(left) > 0 && r.ack.unheard == nil; {
		n := int64(0)
		due.text = due.text[:0]
		for len(left) > 0 && len(due.text) < ackChunk {
			if left[0] != 0 {
				n++
			}
			left = due.next(left, r.ack.form, r.s)
		}
		if r.ack.unheard = r.write(due.text, r.s.Settings.AckTimeout); r.ack.unheard == nil {
			r.s.Counts.Acknowledged(n)
		}
	}
	if due.lengths = due.lengths[:0]; cap(due.lengths) <= ackKeep {
		ackLists.Put(due)
	}
}
