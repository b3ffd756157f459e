package stream

import (
	"context"
	"errors"
	"strconv"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/daemon/delivery"
)

// A chain is messages of which the server stores each only directly behind the one before it, by
// its id. So what is stored is a prefix, without waiting for each acknowledgement.
//
// The first message of a chain has a guard that says what it must be behind:
//   - the last message of the stream, as it was when Last was called; or
//   - the message before it, of the same connection; or
//   - where other machines publish to the same stream all the time, so that neither holds for long:
//     the last message of the same subject. That is enough for the records of one file, because
//     whoever else delivers that file begins with the same record. Whether somebody has delivered
//     another file meanwhile is found out afterwards.

// guard is what the first message of a chain must be behind.
type guard struct {
	header, value string
	// behind is set for the third kind of guard: the last message of this machine that is
	// known.
	behind *uint64
}

// chain publishes records one behind the other.
func (c *Conn) chain(ctx context.Context, records []spool.Record, end delivery.Cursor) error {
	g := guard{header: headerSequence, value: strconv.FormatUint(c.known.streamLast, 10)}
	if c.pub.after != "" {
		g = guard{header: headerLastID, value: c.pub.after}
	}
	for {
		n := len(records)
		if g.behind != nil {
			n = min(c.pub.burst, sameFile(records))
		}
		var last delivery.Cursor
		if n == len(records) {
			last = c.standingAt(records, end)
		}
		stored, err := c.link(ctx, records[:n], g, last)
		if err != nil && !isStale(err) {
			return err
		}
		if stored == 0 && g.behind != nil { // this record was published by somebody else
			return err
		}
		if records = records[stored:]; len(records) == 0 {
			c.settle(end)
			return nil
		}
		g = guard{header: headerLastID, value: c.pub.after}
		if err != nil {
			if g, err = c.among(ctx, &records[0]); err != nil {
				return err
			}
		}
	}
}

func isStale(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == Stale
}

// sameFile returns how many records at the beginning are of one file.
func sameFile(records []spool.Record) int {
	n := 1
	for n < len(records) && records[n].End.Key == records[0].End.Key {
		n++
	}
	return n
}

// among returns the guard for the next record where others publish to the same stream.
func (c *Conn) among(ctx context.Context, r *spool.Record) (guard, error) {
	info, err := c.streamInfo(ctx)
	if missing, ok := errors.AsType[*missingError](err); ok {
		return guard{}, apiError("publish", missing.err)
	}
	if err != nil {
		return guard{}, err
	}
	if !info.Created.Equal(c.stream.Created) {
		return guard{}, stale("stream %q is another one now", c.opt.Forward.Stream)
	}
	m, err := c.get(ctx, getRequest{LastFor: c.pub.message.subject(c, r)})
	if err != nil {
		return guard{}, err
	}
	var sequence uint64
	if m != nil {
		sequence = m.Sequence
	}
	if sequence > c.known.sequence {
		return guard{}, stale("somebody else has published to stream %q as this machine: message %d", c.opt.Forward.Stream, sequence)
	}
	behind := c.known.sequence
	return guard{header: headerSubjectSeq, value: strconv.FormatUint(sequence, 10), behind: &behind}, nil
}

// link publishes records as a chain, of which the last one has a cursor if that is set. It returns
// how many were stored, and why not all.
func (c *Conn) link(ctx context.Context, records []spool.Record, g guard, last delivery.Cursor) (stored int, err error) {
	sent, err := c.sendChain(ctx, records, g, last)
	if err != nil {
		return 0, err
	}
	if _, err := c.pub.acks.wait(ctx, c, sent); err != nil {
		return 0, err
	}
	stored, first, sequence, err := c.pub.acks.stored(sent)
	if stored == 0 {
		return 0, err
	}
	if sequence-first != uint64(stored-1) {
		return 0, outage("publish: messages %d to %d of stream %q are not the %d that were published",
			first, sequence, c.opt.Forward.Stream, stored)
	}
	if g.behind != nil {
		if failed := c.confirm(ctx, *g.behind, first); failed != nil {
			return 0, failed
		}
		c.pub.burst = min(maxBatch, max(16, 2*stored))
	}
	c.advance(records[:stored])
	c.known.sequence = sequence
	c.pub.after = c.pub.id(c.pub.acks.first + uint64(stored) - 1)
	return stored, err
}

// confirm makes sure that no other message of this machine was stored behind one, and before
// another.
func (c *Conn) confirm(ctx context.Context, behind, first uint64) error {
	m, err := c.get(ctx, getRequest{Sequence: behind + 1, NextFor: c.filter})
	if err != nil {
		return err
	}
	if m == nil || m.Sequence != first {
		return &Error{Kind: Stale, Err: errors.New("somebody else publishes as this machine")}
	}
	return nil
}

// sendChain sends records, until one is known to be refused. It returns how many were sent.
func (c *Conn) sendChain(ctx context.Context, records []spool.Record, g guard, last delivery.Cursor) (sent int, err error) {
	p := &c.pub
	p.acks.expect(p.count, len(records))
	inFlight := max(1, c.opt.Forward.MaxInFlight)
	for i := range records {
		if i >= inFlight {
			if good, err := p.acks.wait(ctx, c, i-inFlight+1); err != nil || !good {
				return i, err
			}
		}
		r := &records[i]
		c.makeLink(r, i, g)
		if i+1 == len(records) && last != nil {
			p.message.setCursor(last, r.End.Key)
			p.message.setBehind(g)
		}
		p.count++
		if err := c.send(r); err != nil {
			return i, err
		}
	}
	return len(records), nil
}

// makeLink makes the message of a record that is the one with index i of its chain. The first one
// has a whole cursor, so that it is found near to each message.
func (c *Conn) makeLink(r *spool.Record, i int, g guard) {
	p, m := &c.pub, &c.pub.message
	m.begin(c, r)
	m.set(headerID, p.id(p.count))
	if i > 0 {
		m.set(headerLastID, p.id(p.count-1))
		m.setPosition(r.End)
	} else {
		m.set(headerStream, c.opt.Forward.Stream)
		m.set(g.header, g.value)
		m.setCursor(append(delivery.Cursor(nil), c.known.cursor...).With(r.End), r.End.Key)
		m.setBehind(g)
	}
	m.msg.Reply = p.acks.inbox + strconv.FormatUint(p.count, 10)
}

// setBehind sets what the whole cursor of a chain knows.
func (m *message) setBehind(g guard) {
	if g.behind != nil {
		m.setNumber(headerBehind, *g.behind)
	}
}

// id returns the id of a message of this connection.
func (p *publisher) id(number uint64) string { return p.name + ":" + strconv.FormatUint(number, 10) }
