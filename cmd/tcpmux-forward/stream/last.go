package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/daemon/delivery"
)

// Last asks the stream where the delivery stands. It is called before the first Publish, and again
// after an error of Publish.
func (c *Conn) Last(ctx context.Context) (Last, error) {
	// The stream first: if its last message is still the same when a message of ours comes, no
	// other has come since.
	info, err := c.streamInfo(ctx)
	if missing, ok := errors.AsType[*missingError](err); ok {
		return Last{}, apiError(fmt.Sprintf("stream %q", c.opt.Forward.Stream), missing.err)
	}
	if err != nil {
		return Last{}, err
	}
	last := Last{
		Stream:      delivery.Stream{Name: c.opt.Forward.Stream, Created: info.Created},
		StreamFirst: info.State.FirstSeq, StreamLast: info.State.LastSeq,
	}
	var own uint64 // the sequence that Publish goes on behind
	for _, filter := range c.filters() {
		m, err := c.lastMessage(ctx, filter, info.State.FirstSeq, info.State.LastSeq)
		if err != nil {
			return Last{}, err
		}
		if m == nil {
			continue
		}
		if filter == c.filter {
			own = m.Sequence
		}
		if m.Sequence < last.Sequence {
			continue
		}
		if last.Cursor, last.Torn, err = c.standing(ctx, filter, m, info.State.FirstSeq); err != nil {
			return Last{}, err
		}
		last.Found, last.Sequence = true, m.Sequence
	}
	c.stream, c.config = last.Stream, info.Config // it may have been made anew, with other limits and replicas
	c.known = known{cursor: append(delivery.Cursor(nil), last.Cursor...), sequence: own, streamLast: last.StreamLast}
	c.pub.forget()
	return last, nil
}

// filters returns those that match messages of this machine.
func (c *Conn) filters() []string {
	if c.opt.Former == "" || c.opt.Former == c.filter {
		return []string{c.filter}
	}
	return []string{c.filter, c.opt.Former}
}

// lastMessage returns the last message that a filter matches in a stream with the given sequences;
// nil if there is none. A server 2.9 finds none also if the last message of one of the subjects was
// deleted. It does find the next message behind a sequence, by which the last one is found, too.
func (c *Conn) lastMessage(ctx context.Context, filter string, first, last uint64) (*stored, error) {
	m, err := c.get(ctx, getRequest{LastFor: filter})
	if m != nil || err != nil || last == 0 {
		return m, err
	}
	if m, err = c.get(ctx, getRequest{Sequence: max(first, 1), NextFor: filter}); m == nil || err != nil {
		return nil, err
	}
	for m.Sequence < last {
		middle := m.Sequence + (last-m.Sequence+1)/2
		next, err := c.get(ctx, getRequest{Sequence: middle, NextFor: filter})
		if err != nil {
			return nil, err
		}
		if next == nil {
			last = middle - 1
		} else {
			m = next
		}
	}
	return m, nil
}

// Holds reports whether the stream has a message with the given sequence, of anybody.
func (c *Conn) Holds(ctx context.Context, sequence uint64) (bool, error) {
	m, err := c.get(ctx, getRequest{Sequence: sequence})
	return m != nil, err
}

// entry is what a message of this machine says about where the delivery stands.
type entry struct {
	cursor   delivery.Cursor
	partial  bool
	exact    bool   // the cursor knows all messages before it
	behind   uint64 // of others: it knows what was stored up to there, and by its publisher
	by       string // who has published it
	sequence uint64
}

// entryOf returns what the header of a message says.
func (c *Conn) entryOf(h nats.Header, subject string, sequence uint64) (e entry, err error) {
	e.sequence = sequence
	// Of an identifier without a colon, which is no publisher's of ours, all is its name.
	e.by, _, _ = strings.Cut(h.Get(nats.MsgIdHdr), ":")
	if e.cursor, e.partial, err = delivery.ParseCursor(h.Get(headerCursor)); err == nil && len(e.cursor) == 0 {
		err = errors.New("it has no position")
	}
	if text := h.Get(headerBehind); text == "" {
		e.exact = !e.partial
	} else if err == nil {
		e.behind, err = strconv.ParseUint(text, 10, 64)
	}
	if err != nil {
		return e, refused("message %d of stream %q, %.200q, does not say where the delivery stands (header %s): "+
			"something else publishes to these subjects, or another machine has the same host under [forward]: %w",
			sequence, c.opt.Forward.Stream, subject, headerCursor, hostile{err})
	}
	return e, nil
}

// standing returns where the delivery stands behind the last message of this machine, or before its
// batch if that is torn. It looks back as far as it must.
func (c *Conn) standing(ctx context.Context, filter string, m *stored, first uint64) (at delivery.Cursor, torn bool, err error) {
	h, err := nats.DecodeHeadersMsg(m.Header)
	if len(m.Header) == 0 {
		h, err = nats.Header{}, nil
	}
	if err != nil {
		return nil, false, refused("message %d of stream %q: %w", m.Sequence, c.opt.Forward.Stream, hostile{err})
	}
	if torn = ofBatch(h); !torn {
		e, err := c.entryOf(h, m.Subject, m.Sequence)
		if err != nil || e.exact {
			return e.cursor, false, err
		}
	}
	for window := uint64(1 << 10); ; window *= 8 {
		from := max(first, 1)
		if m.Sequence >= window+from {
			from = m.Sequence - window
		}
		all, err := c.entries(ctx, filter, from, m.Sequence)
		if err != nil {
			return nil, false, err
		}
		if cursor, ok := merge(all, from, from == max(first, 1)); ok {
			return cursor, torn, nil
		}
	}
}

// ofBatch reports whether a message is of an atomic batch, of which only the last has a cursor, and
// is not the last.
func ofBatch(h nats.Header) bool { return h.Get(headerCursor) == "" && h.Get(headerBatch) != "" }

// merge returns where the delivery stands behind the last of the entries, which are all from a
// sequence on. It reports false if that needs earlier ones, unless there are none.
func merge(all []entry, from uint64, complete bool) (delivery.Cursor, bool) {
	w := len(all) - 1
	for w >= 0 && all[w].partial {
		w--
	}
	if w < 0 { // the first batch was not published to its end
		return apply(nil, all, ""), complete
	}
	base := all[w]
	if base.exact {
		return apply(base.cursor, all[w+1:], ""), true
	}
	if base.behind+1 < from && !complete {
		return nil, false
	}
	i := 0
	for i < w && all[i].sequence <= base.behind {
		i++
	}
	// What its publisher has published before is in the cursor already.
	cursor := apply(base.cursor, all[i:w], base.by)
	return apply(cursor, all[w+1:], ""), true
}

// apply returns the cursor behind entries, but for those of one publisher. The first position of a
// cursor is that of its record.
func apply(c delivery.Cursor, entries []entry, without string) delivery.Cursor {
	for _, e := range entries {
		if without == "" || e.by != without {
			c = c.With(e.cursor[0])
		}
	}
	return c
}

// consumer is the request for a consumer, and its configuration.
type consumer struct {
	Stream string         `json:"stream_name"`
	Config consumerConfig `json:"config"`
}

type consumerConfig struct {
	DeliverSubject string        `json:"deliver_subject"`
	DeliverPolicy  string        `json:"deliver_policy"`
	Start          uint64        `json:"opt_start_seq"`
	AckPolicy      string        `json:"ack_policy"`
	ReplayPolicy   string        `json:"replay_policy"`
	Filter         string        `json:"filter_subject"`
	HeadersOnly    bool          `json:"headers_only"`
	Threshold      time.Duration `json:"inactive_threshold"`
	Memory         bool          `json:"mem_storage"`
	Replicas       int           `json:"num_replicas"`
}

// entries returns what the messages that a filter matches from a sequence to another say. The last
// one exists.
func (c *Conn) entries(ctx context.Context, filter string, from, to uint64) (all []entry, err error) {
	sub, err := c.nc.SubscribeSync(c.nc.NewInbox())
	if err != nil {
		return nil, requestError("subscribe", err)
	}
	defer sub.Unsubscribe() // the connection may be gone, and the subscription with it
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, requestError("subscribe", err)
	}
	var made struct {
		Name string `json:"name"`
	}
	err = c.request(ctx, "CONSUMER.CREATE."+c.opt.Forward.Stream, consumer{c.opt.Forward.Stream, consumerConfig{
		DeliverSubject: sub.Subject, DeliverPolicy: "by_start_sequence", Start: from, AckPolicy: "none",
		ReplayPolicy: "instant", Filter: filter, HeadersOnly: true, Threshold: 5 * time.Second, Memory: true, Replicas: 1,
	}}, &made)
	if err != nil {
		return nil, err
	}
	// It ends by itself, too.
	defer c.request(ctx, "CONSUMER.DELETE."+c.opt.Forward.Stream+"."+made.Name, json.RawMessage("{}"), &struct{}{})
	for {
		m, err := c.next(ctx, sub)
		if err != nil {
			return nil, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, outage("read stream %q: %w", c.opt.Forward.Stream, hostile{err})
		}
		if !ofBatch(m.Header) {
			e, err := c.entryOf(m.Header, m.Subject, meta.Sequence.Stream)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		} // else its batch ends with a cursor
		if meta.Sequence.Stream >= to {
			return all, nil
		}
	}
}

func (c *Conn) next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	m, err := sub.NextMsgWithContext(limited)
	if err == nil {
		return m, nil
	}
	if failed := c.failed(ctx); failed != nil {
		return nil, failed
	}
	return nil, requestError(fmt.Sprintf("read stream %q", c.opt.Forward.Stream), err)
}
