package natstest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Message is a message of a stream.
type Message struct {
	Subject  string
	Header   nats.Header
	Data     []byte
	Sequence uint64
}

// patience is how long a server may take that has nothing to wait for.
const patience = 5 * time.Minute

// answer is how long a server may take for one answer. A cluster drops requests while it chooses a
// leader, and places consumers on servers that it has not missed yet: then it is asked again.
const answer = 10 * time.Second

// All returns all messages of a stream, in its order.
func All(t testing.TB, nc *nats.Conn, stream string) []Message {
	t.Helper()
	for waited := answer; ; waited += answer {
		all, err := read(nc, stream)
		if err == nil {
			return all
		}
		late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
		if !late || waited >= patience {
			t.Fatalf("after %d messages: %v", len(all), err)
		}
	}
}

// read reads all messages by a consumer of its own.
func read(nc *nats.Conn, stream string) (all []Message, err error) {
	js, err := nc.JetStream(nats.MaxWait(answer))
	if err != nil {
		return nil, err
	}
	info, err := js.StreamInfo(stream)
	if err != nil || info.State.Msgs == 0 {
		return nil, err
	}
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() // the connection may be gone
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	if _, err := js.AddConsumer(stream, &nats.ConsumerConfig{DeliverSubject: sub.Subject, AckPolicy: nats.AckNonePolicy,
		DeliverPolicy: nats.DeliverAllPolicy, InactiveThreshold: patience, MemoryStorage: true, Replicas: 1}); err != nil {
		return nil, err
	}
	for {
		m, err := sub.NextMsg(answer)
		if err != nil {
			return all, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return all, err
		}
		all = append(all, Message{m.Subject, m.Header, m.Data, meta.Sequence.Stream})
		if meta.NumPending == 0 {
			return all, nil
		}
	}
}
