package stream

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// acks collects the answers to messages that wait for theirs at the same time. One subscription
// gets all of them.
type acks struct {
	inbox string // answers come to it and the number of the message

	mu    sync.Mutex
	first uint64 // the number of the first message that is waited for
	got   []ack
	count int // of got that have come
	want  int // when count is that much, wake is filled
	bad   int // the index of the first that has failed; len(got) or more is none
	wake  chan struct{}
}

// ack is the answer to a message.
type ack struct {
	come     bool
	sequence uint64
	err      error
}

// open begins to collect.
func (a *acks) open(nc *nats.Conn) error {
	a.inbox = nc.NewInbox() + "."
	a.wake = make(chan struct{}, 1)
	sub, err := nc.Subscribe(a.inbox+"*", a.take)
	if err != nil {
		return requestError("subscribe to acknowledgements", err)
	}
	return sub.SetPendingLimits(-1, -1) // as many as are in flight
}

// expect forgets all answers, and prepares for n messages, of which the first has a number.
func (a *acks) expect(first uint64, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.first, a.count, a.bad, a.want = first, 0, n, n+1
	if cap(a.got) < n {
		a.got = make([]ack, n)
	}
	a.got = a.got[:n]
	clear(a.got)
}

// take takes an answer.
func (a *acks) take(m *nats.Msg) {
	number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, a.inbox), 10, 64)
	if err != nil {
		return // nobody has asked for it
	}
	answer := parseAck(m)
	a.mu.Lock()
	defer a.mu.Unlock()
	if number < a.first || number-a.first >= uint64(len(a.got)) {
		return // of a message that is not waited for any more
	}
	i := int(number - a.first)
	if a.got[i].come {
		return
	}
	a.got[i] = answer
	a.count++
	if answer.err != nil {
		a.bad = min(a.bad, i)
	}
	if a.count >= a.want {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// parseAck decodes an answer.
func parseAck(m *nats.Msg) ack {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return ack{come: true, err: requestError("publish", nats.ErrNoResponders)}
	}
	var answer struct {
		Error     *jetstream.APIError `json:"error"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	err := json.Unmarshal(m.Data, &answer)
	switch {
	case err != nil:
		err = outage("publish: the acknowledgement is no JSON: %w", hostile{err})
	case answer.Error != nil:
		err = apiError("publish", answer.Error)
	case answer.Sequence == 0 || answer.Duplicate:
		err = outage("publish: got acknowledgement %.200q, want a sequence that is new", m.Data)
	}
	return ack{come: true, sequence: answer.Sequence, err: err}
}

// wait waits until n answers have come. It reports whether all of them are good.
func (a *acks) wait(ctx context.Context, c *Conn, n int) (good bool, err error) {
	var timer *time.Timer
	for {
		a.mu.Lock()
		count, bad := a.count, a.bad < len(a.got)
		a.want = n
		a.mu.Unlock()
		if count >= n {
			return !bad, nil
		}
		if timer == nil {
			timer = time.NewTimer(c.opt.Timeout)
			defer timer.Stop()
		}
		select {
		case <-a.wake:
		case <-ctx.Done():
			return false, ctx.Err()
		case <-c.life.Done():
			return false, c.failed(ctx)
		case <-timer.C:
			return false, outage("publish to stream %q: no acknowledgement in time", c.opt.Forward.Stream)
		}
	}
}

// stored returns how many messages at the beginning were stored, of n whose answers have come, the
// sequences of the first and the last of them, and the error of the next one.
func (a *acks) stored(n int) (count int, first, last uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for count < n && a.got[count].err == nil {
		count++
	}
	if count < n {
		err = a.got[count].err
	}
	if count > 0 {
		first, last = a.got[0].sequence, a.got[count-1].sequence
	}
	return count, first, last, err
}
