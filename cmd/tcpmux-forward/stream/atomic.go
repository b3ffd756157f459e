package stream

import (
	"context"
	"strconv"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/daemon/delivery"
)

// commit publishes records as an atomic batch: the server stores all of them, and only if the last
// message of this machine is still the one that is known. The last one alone has a cursor. See
// ADR-50 of NATS, Batch Publishing.
func (c *Conn) commit(ctx context.Context, records []spool.Record, end delivery.Cursor) error {
	p, m := &c.pub, &c.pub.message
	p.count++
	id := p.name + strconv.FormatUint(p.count, 10)
	p.acks.begin(c.opt.Timeout)
	for i := range records {
		r := &records[i]
		m.begin(c, r)
		m.set(headerBatch, id)
		m.setNumber(headerBatchSeq, uint64(i+1))
		if i == 0 {
			m.set(headerStream, c.opt.Forward.Stream)
			m.setNumber(headerSubjectSeq, c.known.sequence)
			m.set(headerSubjectSubject, c.filter)
		}
		if i+1 == len(records) {
			m.set(headerCommit, "1")
			m.setCursor(c.standingAt(records, end), r.End.Key)
			m.msg.Reply = p.acks.ask(i)
		}
		if err := c.send(r); err != nil {
			return err
		}
	}
	if _, err := p.acks.wait(ctx, c, len(records)); err != nil {
		return err
	}
	e := p.acks.extent()
	if e.refusal != nil {
		return e.refusal
	}
	c.advance(records)
	c.settle(end)
	p.committed(e.last == c.known.streamLast+uint64(len(records)))
	c.known.sequence, c.known.streamLast = e.last, e.last
	return nil
}

// send sends the message that was made of r.
func (c *Conn) send(r *spool.Record) error {
	err := c.pub.message.publish(c, r)
	if _, ok := err.(*Error); err == nil || ok {
		return err
	}
	return requestError("publish", err)
}
