package worker

import "tcpmux/daemon/framing"

// dueAcks counts the acknowledgements that a worker sends, which the daemon does not see: those of
// messages that are written, up to the checkpoint that follows them.
type dueAcks struct {
	n   int64
	cut bool // the last message was a piece, perhaps the last one of its message
}

// add notes a message that is about to be written. The pieces of a message are acknowledged with
// the last one, which does not differ from the others: what follows it does.
func (d *dueAcks) add(flag string) {
	switch flag {
	case framing.Whole.String():
		if d.cut {
			d.n++
		}
		d.n++
	case framing.EOF.String():
		d.n++
	}
	d.cut = flag == framing.Cut.String()
}

// sent returns how many acknowledgements were sent by a checkpoint, which has so many bytes of a
// message whose last piece is to come. They count no more.
func (d *dueAcks) sent(pieces int64) int64 {
	n := d.n
	if d.cut && pieces == 0 {
		n, d.cut = n+1, false
	}
	d.n = 0
	return n
}
