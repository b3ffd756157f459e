package natstest

import (
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

// All returns all messages of a stream, in its order.
func All(t testing.TB, nc *nats.Conn, stream string) (all []Message) {
	t.Helper()
	js, err := nc.JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(stream)
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs == 0 {
		return nil
	}
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe() // the connection may be gone
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddConsumer(stream, &nats.ConsumerConfig{DeliverSubject: sub.Subject, AckPolicy: nats.AckNonePolicy,
		DeliverPolicy: nats.DeliverAllPolicy, InactiveThreshold: patience, MemoryStorage: true, Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatalf("after %d messages of %d: %v", len(all), info.State.Msgs, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Message{m.Subject, m.Header, m.Data, meta.Sequence.Stream})
		if meta.NumPending == 0 {
			return all
		}
	}
}
