package stream

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/daemon/delivery"
)

// TestRefusedBetweenAnswers has the server refuse a message that has asked for no answer. What is
// stored is known nevertheless, and the reason as well.
func TestRefusedBetweenAnswers(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		c := connected(t, options(s))
		lastOf(t, c)
		first := batchOf(0, 10, nil, fileA)
		publish(t, c, first)
		cfg := c.config
		cfg.MaxMsgSize = 10_000 // which the connection does not know
		update(t, c, cfg)
		b := batchOf(10, 700, first.Cursor, fileA)
		b.Records[333].Line = make([]byte, 10_001)
		_, err := c.Publish(context.Background(), b)
		if m.want == Atomic { // the next connection knows
			wantKind(t, err, Outage, "incomplete")
		} else {
			wantKind(t, err, Refused, "raise max_msg_size of the stream")
		}
		want := 10 + 333
		if m.batches {
			want = 10
		}
		if got := fileA.at(lastOf(t, c).Cursor); got != want {
			t.Errorf("got %d records, want %d", got, want)
		}
		wantOnce(t, s, want, fileA)
	})
}

// update changes the configuration of the stream.
func update(t *testing.T, c *Conn, cfg jetstream.StreamConfig) {
	t.Helper()
	if err := c.request(context.Background(), "STREAM.UPDATE.S", cfg, &struct{}{}); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenBetweenAnswers has another host publish while a chain is sent, so that its end is
// refused: the rest is published without anybody asking Last.
func TestBrokenBetweenAnswers(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		c := connected(t, options(s))
		lastOf(t, c)
		b := batchOf(0, 700, nil, fileA)
		// The first 333 of a chain come, and then a message of somebody else.
		g := guard{header: headerSequence, value: "0"}
		c.pub.acks.begin(patience)
		if err := c.sendChain(context.Background(), b.Records[:333], g, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.pub.acks.wait(context.Background(), c, 333); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Connect().RequestMsg(nats.NewMsg("tcpmux.other.l.message"), patience); err != nil {
			t.Fatal(err)
		}
		e := extent{least: 250, most: 699, first: 1, last: 250}
		if err := c.measure(context.Background(), &e, 0); err != nil || e.least != 333 || e.last != 333 {
			t.Fatalf("got %+v and %v, want 333", e, err)
		}
		c.advance(b.Records[:333])
		c.known.sequence, c.pub.after = 333, c.pub.id(332)
		b.Records = b.Records[333:]
		publish(t, c, b)
		wantOnce(t, s, 700, fileA)

		// What is no message of this chain is no measure of it.
		other := connected(t, options(s))
		lastOf(t, other)
		publish(t, other, batchOf(700, 1, b.Cursor, fileA))
		wantKind(t, c.measure(context.Background(), &extent{least: 250, most: 699}, 0), Stale)
	})
}

// TestBatchesWhereOthersPublish has a stream with atomic batches get chains, batches when somebody
// else has published to it, and chains when nobody has done so for a while.
func TestBatchesWhereOthersPublish(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	c := connected(t, options(s))
	lastOf(t, c)
	var cursor delivery.Cursor
	next := func() {
		b := batchOf(fileA.at(cursor), 3, cursor, fileA)
		publish(t, c, b)
		cursor = b.Cursor
	}
	disturb := func() {
		if _, err := s.Connect().RequestMsg(nats.NewMsg("tcpmux.other.l.message"), patience); err != nil {
			t.Fatal(err)
		}
	}
	next()
	disturb()
	for range quietFor {
		next()
	}
	disturb()
	for range quietFor + 3 {
		next()
	}
	var got strings.Builder
	own := 0
	for _, m := range natstest.All(t, s.Connect(), "S") {
		if !strings.HasPrefix(m.Subject, "tcpmux.box.") {
			got.WriteByte('|')
			continue
		}
		if own++; own%3 != 0 {
			continue
		}
		switch ends := m.Header.Get(headerCommit) != ""; {
		case m.Header.Get(headerCursor)[0] != '1', ends == (m.Header.Get(headerID) != ""):
			t.Errorf("message %d: got headers %q, want the end of a batch or of a chain", m.Sequence, m.Header)
		case ends:
			got.WriteByte('b')
		default:
			got.WriteByte('c')
		}
	}
	// The first batch behind somebody else's message shows that it is not alone.
	if want := "c|bbbbbbbb|bbbbbbbbbcc"; got.String() != want {
		t.Errorf("got %s, want %s", got.String(), want)
	}
	if last := lastOf(t, connected(t, options(s))); fileA.at(last.Cursor) != fileA.at(cursor) {
		t.Errorf("got %+v, want all", last)
	}
	wantOnce(t, s, fileA.at(cursor), fileA)
}

// TestNoMoreInFlight than is configured, although few messages ask for an answer.
func TestNoMoreInFlight(t *testing.T) {
	s := natstest.Start(t, "2.10", natstest.Options{})
	admin := connected(t, options(s))
	silent := admin.config
	silent.NoAck = true
	for i, most := range []int{1, 2, 3, 10} {
		c := connected(t, options(s))
		last := lastOf(t, c)
		c.opt.Forward.MaxInFlight, c.opt.Timeout = most, 100*time.Millisecond
		update(t, admin, silent)
		_, err := c.Publish(context.Background(), batchOf(i*50, 25, last.Cursor, fileA))
		wantKind(t, err, Outage, "no acknowledgement in time")
		if c.pub.count != uint64(most) {
			t.Errorf("got %d messages without an answer, want %d", c.pub.count, most)
		}
		update(t, admin, admin.config)
		opt := options(s)
		opt.Forward.MaxInFlight = most
		if _, err := deliver(context.Background(), opt, (i+1)*50, 25, fileA); err != nil {
			t.Fatal(err)
		}
	}
	wantOnce(t, s, 200, fileA)
}

// TestWholeCursorsAreNear to each message of a long chain.
func TestWholeCursorsAreNear(t *testing.T) {
	s := natstest.Start(t, "2.10", natstest.Options{})
	c := connected(t, options(s))
	lastOf(t, c)
	publish(t, c, batchOf(0, 1700, nil, fileA, fileB))
	far := 0
	for _, m := range natstest.All(t, s.Connect(), "S") {
		far++
		cursor, partial, err := delivery.ParseCursor(m.Header.Get(headerCursor))
		if err != nil {
			t.Fatal(err)
		}
		if !partial {
			far = 0
			a, b := fileA.at(cursor), fileB.at(cursor)
			if got := uint64(a + b); got != m.Sequence || cursor[0].Key != fileOf(m.Data) {
				t.Errorf("message %d: got positions %d and %d, the first of %s", m.Sequence, a, b, cursor[0].Key)
			}
		}
		if far >= maxBatch {
			t.Fatalf("message %d: no whole cursor in %d messages", m.Sequence, far)
		}
	}
}

// fileOf returns the key of the file of a record.
func fileOf(line []byte) delivery.Key {
	key, _, _ := strings.Cut(string(line), " ")
	return delivery.Key(key)
}
