package stream

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

// TestTheEndOfABatchIsRemoved: somebody removes the one message of a batch that says where the
// delivery stands. Last says so, and what is known otherwise can be gone on behind.
func TestTheEndOfABatchIsRemoved(t *testing.T) {
	s := serve(t, mode{version: natstest.Newest, want: Atomic, batches: true}, natstest.Options{})
	c := connected(t, options(s))
	lastOf(t, c)
	first := batchOf(0, 10, nil, fileA)
	publish(t, c, first)
	second := batchOf(10, 10, first.Cursor, fileA)
	end := publish(t, c, second)
	if last := lastOf(t, c); last.Torn || fileA.at(last.Cursor) != 20 {
		t.Errorf("got %+v, want all 20 records", last)
	}
	js, err := s.Connect().JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	remove := func(sequence uint64) {
		if err := js.DeleteMsg("S", sequence); err != nil {
			t.Fatal(err)
		}
	}
	remove(end)
	last := lastOf(t, connected(t, options(s)))
	if !last.Found || !last.Torn || fileA.at(last.Cursor) != 10 || last.Sequence != end-1 {
		t.Errorf("got %+v, want the 10 records before the torn batch", last)
	}

	lastOf(t, c)
	end = publish(t, c, batchOf(20, 10, second.Cursor, fileA))
	if last := lastOf(t, c); last.Torn || fileA.at(last.Cursor) != 30 {
		t.Errorf("got %+v, want all 30 records", last)
	}

	remove(end)
	for sequence := range end - 11 {
		if err := js.DeleteMsg("S", sequence+1); err != nil && sequence+1 != 20 {
			t.Fatal(fmt.Errorf("message %d: %w", sequence+1, err))
		}
	}
	if last, err := c.Last(context.Background()); err != nil || !last.Torn || len(last.Cursor) != 0 {
		t.Errorf("nothing but a torn batch: got %+v and %v, want no cursor", last, err)
	}
}
