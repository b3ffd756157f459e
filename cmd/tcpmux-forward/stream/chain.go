package stream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/daemon/delivery"
)

// A chain is messages of which the server stores each only directly behind the one before it, by
// its id. So what is stored is a prefix, without waiting for each acknowledgement.
//
// Where a stream has replicas, each message is a chain of its own, and waits for the one before it.
// Each replica checks ids itself, by the last one that it knows. One that was restarted, or has got
// messages from another, knows none: it would refuse what the others store, and lead one day. What
// follows here is checked by the leader alone.
//
// So it is with servers that keep the id of a message that they refuse because the account is full,
// and then store what fits behind it. A stream with a limit of its own reserves it in the account.
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

// chain publishes records one behind the other, as far as that goes: where others publish to the
// same stream and it has atomic batches, those are cheaper. It returns how many were stored.
func (c *Conn) chain(ctx context.Context, records []spool.Record, end delivery.Cursor) (stored int, err error) {
	g := c.behindOwn()
	for stored < len(records) {
		left := records[stored:]
		if g.behind != nil {
			left = left[:min(c.pub.burst, sameFile(left))]
		}
		if c.config.Replicas > 1 || c.keepsRefused() {
			left = left[:1]
		}
		var last delivery.Cursor
		if len(left) == len(records)-stored {
			last = c.standingAt(left, end)
		}
		n, refusal, err := c.link(ctx, left, g, last)
		if err != nil {
			return 0, err
		}
		stored += n
		switch {
		case refusal == nil:
			g = c.behindOwn()
			continue
		case !isStale(refusal), n == 0 && g.behind != nil: // the latter: somebody else has published this record
			return 0, refusal
		case c.info.Mode == Atomic:
			c.pub.disturbed()
			return stored, nil
		}
		if g, err = c.among(ctx, &records[stored]); err != nil {
			return 0, err
		}
	}
	c.settle(end)
	return stored, nil
}

// behindOwn returns the guard for what follows the last message that was published, or that Last has
// found.
func (c *Conn) behindOwn() guard {
	if c.pub.after == "" {
		return guard{header: headerSequence, value: strconv.FormatUint(c.known.streamLast, 10)}
	}
	return guard{header: headerLastID, value: c.pub.after}
}

// keepsRefused reports whether the server may store a message behind one that it has refused, because
// it keeps the id of that. Those from 2.10 on do so, and 2.15 does not.
func (c *Conn) keepsRefused() bool {
	v := c.info.ServerVersion
	return c.config.MaxBytes <= 0 && isAtLeast(v, 2, 10) && !isAtLeast(v, 2, 15)
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
// how many were stored, and why not all. After an error nothing is known.
func (c *Conn) link(ctx context.Context, records []spool.Record, g guard, last delivery.Cursor) (stored int, refusal, err error) {
	p := &c.pub
	number := p.count
	p.acks.begin(c.opt.Timeout * time.Duration((len(records)+maxBatch-1)/maxBatch))
	if err := c.sendChain(ctx, records, g, last); err != nil {
		return 0, nil, err
	}
	if _, err := p.acks.wait(ctx, c, p.acks.asked()); err != nil {
		return 0, nil, err
	}
	e := p.acks.extent()
	if e.least < e.most {
		if err := c.measure(ctx, &e, number); err != nil {
			return 0, nil, err
		}
	}
	if e.least == 0 {
		return 0, e.refusal, nil
	}
	if e.last-e.first != uint64(e.least-1) {
		return 0, nil, outage("publish: messages %d to %d of stream %q are not the %d that were published",
			e.first, e.last, c.opt.Forward.Stream, e.least)
	}
	if g.behind != nil {
		if err := c.confirm(ctx, *g.behind, e.first); err != nil {
			return 0, nil, err
		}
		p.burst = min(maxBatch, max(16, 2*e.least))
	}
	c.advance(records[:e.least])
	c.known.sequence, c.known.streamLast = e.last, e.last
	if c.config.Replicas <= 1 {
		p.after = p.id(number + uint64(e.least) - 1)
	}
	return e.least, e.refusal, nil
}

// measure asks the stream how many messages of a chain it has, of which the first has a number,
// because not each of them has asked for an answer. What was sent behind one that was refused is
// refused, too, whenever it comes.
func (c *Conn) measure(ctx context.Context, e *extent, number uint64) error {
	m, err := c.get(ctx, getRequest{LastFor: c.filter})
	if err != nil {
		return err
	}
	var h nats.Header
	if m != nil {
		h, err = nats.DecodeHeadersMsg(m.Header)
	}
	for n := e.least; err == nil && n <= e.most; n++ {
		if h.Get(headerID) == c.pub.id(number+uint64(n)-1) {
			e.least, e.most, e.last = n, n, m.Sequence
			return nil
		}
	}
	return stale("somebody else publishes to stream %q as this machine", c.opt.Forward.Stream)
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

// sendChain sends records, until one is known to be refused. Few of them ask for an answer, because
// that of one tells that those before it are stored: this saves both sides a third of their work.
func (c *Conn) sendChain(ctx context.Context, records []spool.Record, g guard, last delivery.Cursor) error {
	p := &c.pub
	inFlight := max(1, c.opt.Forward.MaxInFlight)
	every := min(answerEvery, (inFlight+1)/2)
	for i := range records {
		if i >= inFlight {
			if good, err := p.acks.wait(ctx, c, i-inFlight+1); err != nil || !good {
				return err
			}
		}
		r := &records[i]
		c.makeLink(records, i, g)
		if i+1 == len(records) && last != nil {
			p.message.setCursor(last, r.End.Key)
			p.message.setBehind(g)
		}
		if i == 0 || (i+1)%every == 0 || i+1 == len(records) {
			p.message.msg.Reply = p.acks.ask(i)
		}
		p.count++
		if err := c.send(r); err != nil {
			return err
		}
	}
	return nil
}

// answerEvery is how many messages of a chain have one answer at most.
const answerEvery = 250

// makeLink makes the message of the record with index i of its chain. The first one has a whole
// cursor, and some others, so that one is found near to each message.
func (c *Conn) makeLink(records []spool.Record, i int, g guard) {
	p, m, r := &c.pub, &c.pub.message, &records[i]
	m.begin(c, r)
	before := p.sent
	p.sent = p.id(p.count)
	m.set(headerID, p.sent)
	if i > 0 {
		m.set(headerLastID, before)
	} else {
		m.set(headerStream, c.opt.Forward.Stream)
		m.set(g.header, g.value)
	}
	if i%maxBatch > 0 {
		m.setPosition(r.End)
		return
	}
	m.setCursor(c.standingAt(records[:i+1], nil), r.End.Key)
	m.setBehind(g)
}

// setBehind sets what the whole cursor of a chain knows.
func (m *message) setBehind(g guard) {
	if g.behind != nil {
		m.setNumber(headerBehind, *g.behind)
	}
}

// id returns the id of a message of this connection.
func (p *publisher) id(number uint64) string { return p.name + ":" + strconv.FormatUint(number, 10) }
