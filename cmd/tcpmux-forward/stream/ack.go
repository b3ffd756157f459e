package stream

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// acks collects the answers to messages that ask for one. One subscription gets all of them. Who
// asks for answers is one goroutine.
type acks struct {
	inbox string    // answers come to it and the number of the question
	until time.Time // when all must have come

	mu    sync.Mutex
	first uint64 // the number of the first question
	got   []ack  // the answers, one for each question
	come  int    // how many of them have come, without a gap
	bad   bool   // one of them is an error
	want  int    // when that many messages are answered, wake is filled
	wake  chan struct{}
}

// ack is the answer to a message.
type ack struct {
	index    int // of the message among those that are published together
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

// begin forgets all questions. The answers to those that follow must come within a time.
func (a *acks) begin(limit time.Duration) {
	a.until = time.Now().Add(limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.first += uint64(len(a.got))
	a.got, a.come, a.bad, a.want = a.got[:0], 0, false, math.MaxInt
}

// ask returns where to send the answer to the message with an index, which is behind all that were
// asked for.
func (a *acks) ask(index int) (reply string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	number := a.first + uint64(len(a.got))
	a.got = append(a.got, ack{index: index})
	return a.inbox + strconv.FormatUint(number, 10)
}

// asked returns how many messages are answered when all answers have come.
func (a *acks) asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.upToLocked(len(a.got))
}

// upToLocked returns how many messages are answered by the first n answers: one answers for those
// before it, too.
func (a *acks) upToLocked(n int) int {
	if n == 0 {
		return 0
	}
	return a.got[n-1].index + 1
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
		return // to a question that was forgotten
	}
	i := int(number - a.first)
	if a.got[i].come {
		return
	}
	answer.index = a.got[i].index
	a.got[i] = answer
	a.bad = a.bad || answer.err != nil
	for a.come < len(a.got) && a.got[a.come].come {
		a.come++
	}
	if a.upToLocked(a.come) >= a.want {
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

// wait waits until n messages are answered. It reports whether no answer so far is an error.
func (a *acks) wait(ctx context.Context, c *Conn, n int) (good bool, err error) {
	var timer *time.Timer
	for {
		a.mu.Lock()
		count, bad := a.upToLocked(a.come), a.bad
		a.want = n
		a.mu.Unlock()
		if count >= n {
			return !bad, nil
		}
		if timer == nil {
			timer = time.NewTimer(min(c.opt.Timeout, time.Until(a.until)))
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

// extent is what answers say of the messages that were published together.
type extent struct {
	// least is how many at the beginning are stored for sure, and most is how many may be.
	least, most int
	// first and last are the sequences of the first one and of the last of least.
	first, last uint64
	// refusal is why the one behind most is not stored; nil if there is none.
	refusal error
}

// extent returns what the answers say, when all have come.
func (a *acks) extent() (e extent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, g := range a.got {
		if g.err != nil {
			e.most, e.refusal = g.index, g.err
			return e
		}
		if i == 0 {
			e.first = g.sequence
		}
		e.least, e.most, e.last = g.index+1, g.index+1, g.sequence
	}
	return e
}
