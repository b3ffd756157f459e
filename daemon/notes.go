package daemon

import (
	"encoding/binary"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/state"
)

// note is what the daemon is to keep for a session's process: how far the session has come, and what of the stream behind that is out
// of the kernel, or is about to be.
type note struct {
	offset  int64
	framing int64  // what the framing has to know there
	pieces  int64  // bytes that are recorded of a message whose acknowledgement is still to come
	have    int    // how many bytes from offset on the daemon keeps already
	more    []byte // those behind them
}

func (n note) appendTo(dst []byte) []byte {
	for _, v := range [...]int64{n.offset, n.framing, n.pieces, int64(n.have)} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v))
	}
	return append(dst, n.more...)
}

// parseNote reads a note.
func parseNote(b []byte) (n note, err error) {
	const head = 4 * 8
	if len(b) < head {
		return n, errParcel
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	have := at(3)
	n.offset, n.framing, n.pieces, n.more = at(0), at(1), at(2), b[head:]
	if n.offset < 0 || have < 0 || have > 1<<30 {
		return n, errParcel
	}
	n.have = int(have)
	return n, nil
}

// isNoted says whether a note follows messages of which the last has this flag, once they are written. Without one the session has
// come to their end, and its framing has to know nothing there.
func isNoted(acks bool, flag string) bool { return acks || flag == framing.Cut.String() }

// notes has the daemon keep what a session's process would lose when the daemon dies. The session's goroutine uses it.
type notes struct {
	post *post
	base int64 // from where on the daemon keeps something
	have int   // how many bytes that are
	full bool  // it cannot keep what begins there
}

// newNotes returns the notes of the session that hello begins; nil when none are kept.
func newNotes(p *post, h hello) *notes {
	if !h.noting {
		return nil
	}
	return &notes{post: p, base: h.offset, have: len(h.moved)}
}

// take has the daemon keep how far the session has come, when there is something to tell, and moved, the beginning of a message there.
// It returns when that is done. After an error nothing may be taken from the socket: the next daemon looks for it there.
func (n *notes) take(at state.Tally, acknowledged bool, moved []byte) error {
	due := acknowledged || n.post.cut
	if at.Offset != n.base {
		due = due || n.have > 0
		n.base, n.have, n.full = at.Offset, 0, false
	}
	if n.full {
		moved = nil
	}
	if !due && len(moved) == n.have {
		return nil
	}
	n.post.cut = false
	kept, err := n.post.note(note{at.Offset, at.Framing, at.Pieces, n.have, moved[n.have:]})
	if err != nil {
		return err
	}
	if !kept {
		n.full, moved = true, nil
	}
	n.have = len(moved)
	return nil
}

// keep says whether the daemon keeps so many bytes from base on.
func (n *notes) keep(base int64, size int) bool { return n.base == base && n.have == size }
