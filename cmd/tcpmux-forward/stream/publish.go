package stream

import (
	"context"
	"crypto/rand"
	"slices"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/daemon/delivery"
)

// A batch has at most maxBatch messages, which is what a server takes, and a chain maxChain. Both
// have about maxBatchBytes.
const (
	maxBatch      = 1000
	maxChain      = 4 * maxBatch
	maxBatchBytes = 4 << 20
)

// quietFor is after how many batches a stream is taken as one that others do not publish to.
const quietFor = 8

// publisher is how messages are published over a connection.
type publisher struct {
	message message
	acks    acks
	name    string // of this connection, which no other one has
	count   uint64 // of messages, which are so numbered
	ready   bool   // Last was called, and nothing has failed since
	sent    string // the id of the last message of a chain that was sent
	after   string // the id of the last message that was published; "" if there is none
	burst   int    // how many messages are sent at once where others publish, too
	quiet   int    // how many batches nobody else has published between; a chain counts as quietFor
}

func (p *publisher) open(c *Conn) error {
	p.name = rand.Text()[:16]
	p.burst, p.quiet = maxBatch, quietFor
	p.message.open()
	return p.acks.open(c.nc)
}

// forget begins anew, when it is known where the delivery stands.
func (p *publisher) forget() { p.ready, p.after = true, "" }

// committed notes that a batch was stored, and whether it is directly behind the one before it.
func (p *publisher) committed(alone bool) {
	p.after = "" // its messages have no ids
	p.quiet++
	if !alone {
		p.quiet = 0
	}
}

// disturbed notes that somebody else publishes to the stream.
func (p *publisher) disturbed() { p.quiet = 0 }

// batches reports whether records are published in atomic batches. A server stores a chain about
// twice as fast, but only as long as nobody else publishes to the stream: without replicas, a batch
// is staged in files of its own, which are synced. With replicas it is staged in memory. In a cluster
// a stream can get replicas at any time, and nobody tells.
func (c *Conn) batches() bool {
	return c.info.Mode == Atomic && (c.config.Replicas > 1 || c.clustered || c.pub.quiet < quietFor || c.opt.shared)
}

// Publish stores the records of b behind the last message of this machine, and returns the sequence
// of the last of them. After an error nothing is known: Last tells what is stored.
func (c *Conn) Publish(ctx context.Context, b *spool.Batch) (sequence uint64, err error) {
	if !c.pub.ready {
		return 0, outage("publish: it is not known where stream %q stands", c.opt.Forward.Stream)
	}
	if len(b.Records) == 0 {
		return c.known.sequence, nil
	}
	defer context.AfterFunc(ctx, c.raw.abort)() // a write may have to wait for the server
	c.adopt(b)
	for left := b.Records; len(left) > 0 && err == nil; {
		most := maxChain
		if c.batches() {
			most = min(maxBatch, max(1, c.opt.Forward.MaxInFlight))
		}
		n := piece(left, most, c.sure())
		end := b.Cursor
		if n < len(left) {
			end = nil
		}
		if c.batches() {
			err = c.commit(ctx, left[:n], end)
		} else {
			n, err = c.chain(ctx, left[:n], end)
		}
		left = left[n:]
	}
	if err != nil {
		c.pub.ready = false
		if failed := c.failed(ctx); failed != nil {
			err = failed // why there is no answer
		}
		return 0, err
	}
	return c.known.sequence, nil
}

// adopt takes the positions of files of which the batch has no record: the caller may have gone on
// to another file. Positions that the caller has given up go where there would be too many.
func (c *Conn) adopt(b *spool.Batch) {
	var keys []delivery.Key
	for i := range b.Records {
		if k := b.Records[i].End.Key; i == 0 || k != b.Records[i-1].End.Key && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	if len(c.known.cursor)+len(b.Cursor) > delivery.MaxPositions {
		c.known.cursor = slices.DeleteFunc(c.known.cursor, func(p delivery.Position) bool {
			_, has := b.Cursor.Find(p.Key)
			return !has
		})
	}
	for _, p := range b.Cursor {
		if !slices.Contains(keys, p.Key) {
			c.known.cursor = c.known.cursor.With(p)
		}
	}
}

// advance notes that records are delivered.
func (c *Conn) advance(records []spool.Record) {
	for i := range records {
		if i+1 == len(records) || records[i+1].End.Key != records[i].End.Key {
			c.known.cursor = c.known.cursor.With(records[i].End)
		}
	}
}

// settle notes that a piece is delivered, after which the delivery stands at end, if that is set.
func (c *Conn) settle(end delivery.Cursor) {
	if end != nil {
		c.known.cursor = append(c.known.cursor[:0], end...)
	}
}

// standingAt returns the cursor behind records, which are not delivered yet.
func (c *Conn) standingAt(records []spool.Record, end delivery.Cursor) delivery.Cursor {
	if end != nil {
		return slices.Clone(end)
	}
	all := slices.Clone(c.known.cursor)
	for i := range records {
		if i+1 == len(records) || records[i+1].End.Key != records[i].End.Key {
			all = all.With(records[i].End)
		}
	}
	return all
}

// sure returns the size in bytes of a record that is not too large, whatever its headers are.
func (c *Conn) sure() int {
	limit := c.info.MaxPayload
	if most := int64(c.config.MaxMsgSize); most > 0 {
		limit = min(limit, most)
	}
	return int(limit - limit/8)
}

// piece returns how many of the records are a batch, which has so many at most. One that may be too
// large is a batch of its own, so that it holds back none that are before it.
func piece(records []spool.Record, most, sure int) int {
	size := 0
	for i := range records {
		large := len(records[i].Line) > sure
		if size += len(records[i].Line); i == most || i > 0 && (size > maxBatchBytes || large) {
			return i
		}
		if large {
			return 1
		}
	}
	return len(records)
}
