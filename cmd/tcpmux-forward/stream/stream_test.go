package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
)

// patience is how long a server may take in tests that do not wait for a timeout.
const patience = 5 * time.Minute

// options are those that tests change from.
func options(s *natstest.Server) Options {
	_, batches := batching.Load(s.URL)
	return Options{Host: "box", Timeout: patience, shared: batches, Forward: config.Forward{
		Servers: []string{s.URL}, Subject: "tcpmux.{host}.{listener}.{kind}", Stream: "S", Create: true, MaxBytes: 1 << 30,
		Replicas: 1, MaxInFlight: 1000,
	}}
}

// connected returns a connection that the test closes.
func connected(t testing.TB, opt Options) *Conn {
	t.Helper()
	c, err := Connect(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// lastOf asks where the delivery stands.
func lastOf(t testing.TB, c *Conn) Last {
	t.Helper()
	last, err := c.Last(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// mode is a kind of server, and how is published to it.
type mode struct {
	version string
	// plain is set for a stream without atomic batches on a server that knows them.
	plain bool
	want  string
	// batches is set where atomic batches are published from the beginning, as if others
	// published to the stream.
	batches bool
}

func (m mode) String() string {
	if m.batches {
		return m.version + "/batches"
	}
	return m.version + "/" + m.want
}

// batching has the URLs of servers for which mode.batches is set.
var batching sync.Map

// modes are all kinds.
func modes() []mode {
	return []mode{
		{version: "2.9", want: Chained},
		{version: "2.10", want: Chained},
		{version: natstest.Newest, want: Chained, plain: true},
		{version: natstest.Newest, want: Atomic},
		{version: natstest.Newest, want: Atomic, batches: true},
	}
}

// each runs f with each kind of server.
func each(t *testing.T, opt natstest.Options, f func(t *testing.T, m mode, s *natstest.Server)) {
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			f(t, m, serve(t, m, opt))
		})
	}
}

// serve starts a server, with the stream S if that is not as it is created.
func serve(t testing.TB, m mode, opt natstest.Options) *natstest.Server {
	t.Helper()
	s := natstest.Start(t, m.version, opt)
	if m.batches {
		batching.Store(s.URL, true)
	}
	if m.plain {
		addStream(t, s, nats.StreamConfig{Discard: nats.DiscardNew})
	}
	return s
}

// addStream makes the stream S.
func addStream(t testing.TB, s *natstest.Server, cfg nats.StreamConfig) {
	t.Helper()
	cfg.Name = "S"
	if cfg.Subjects == nil && cfg.Mirror == nil {
		cfg.Subjects = []string{"tcpmux.*.*.*"}
	}
	js, err := s.Connect().JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&cfg); err != nil {
		t.Fatal(err)
	}
}

// file is a record file with numbered records.
type file struct {
	key  delivery.Key
	mark recordfile.Mark
}

var (
	fileA = file{delivery.KeyOf("/a.log"), recordfile.Mark(strings.Repeat("A", 16))}
	fileB = file{delivery.KeyOf("/b.log"), recordfile.Mark(strings.Repeat("B", 16))}
)

// record returns the record with a number. The end of it is at 100 times the next number.
func (f file) record(number int) spool.Record {
	r := spool.Record{
		Line: fmt.Appendf(nil, "%s %06d %s", f.key, number, strings.Repeat("x", 180)), Kind: record.KindMessage,
		Listener: "l" + string(f.key[:2]), Session: fmt.Sprintf("s%d", number%7), Remote: "192.0.2.1:5", Offset: int64(number),
		End: delivery.Position{Key: f.key, Mark: f.mark, Offset: int64(number+1) * 100},
	}
	switch number % 50 {
	case 0:
		r.Kind = record.KindOpen
	case 49:
		r.Kind = record.KindClose
	}
	return r
}

// at returns the number of the record where a cursor stands.
func (f file) at(c delivery.Cursor) int {
	p, _ := c.Find(f.key)
	return int(p.Offset / 100)
}

// batchOf returns the records from one number on, with the cursor behind them.
func batchOf(from, n int, before delivery.Cursor, files ...file) *spool.Batch {
	b := &spool.Batch{Cursor: append(delivery.Cursor(nil), before...)}
	for i := from; i < from+n; i++ {
		for _, f := range files {
			b.Records = append(b.Records, f.record(i))
			b.Cursor = b.Cursor.With(b.Records[len(b.Records)-1].End)
		}
	}
	return b
}

// publish publishes a batch that must succeed.
func publish(t testing.TB, c *Conn, b *spool.Batch) uint64 {
	t.Helper()
	sequence, err := c.Publish(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

// wantOnce fails unless the stream has the records of files once, in order, and each with its
// subject and headers. It passes over other hosts.
func wantOnce(t *testing.T, s *natstest.Server, n int, files ...file) {
	t.Helper()
	next := map[delivery.Key]int{}
	for _, m := range natstest.All(t, s.Connect(), "S") {
		if !strings.HasPrefix(m.Subject, "tcpmux.box.") {
			continue
		}
		key, rest, _ := strings.Cut(string(m.Data), " ")
		for _, f := range files {
			if string(f.key) != key {
				continue
			}
			want := f.record(next[f.key])
			if string(m.Data) != string(want.Line) {
				t.Fatalf("message %d: got record %.6q of %s, want %06d", m.Sequence, rest, key, next[f.key])
			}
			next[f.key]++
			wantHeaders(t, m, want)
		}
	}
	for _, f := range files {
		if next[f.key] != n {
			t.Errorf("got %d records of %s, want %d", next[f.key], f.key, n)
		}
	}
}

func wantHeaders(t *testing.T, m natstest.Message, r spool.Record) {
	t.Helper()
	offset := ""
	if r.Kind == record.KindMessage {
		offset = fmt.Sprint(r.Offset)
	}
	got := [4]string{m.Subject, m.Header.Get(headerSession), m.Header.Get(headerOffset), m.Header.Get(headerRemote)}
	want := [4]string{"tcpmux.box." + r.Listener + "." + wordOf(r.Kind), r.Session, offset, r.Remote}
	if got != want {
		t.Errorf("message %d: got %q, want %q", m.Sequence, got, want)
	}
}

// wantKind fails unless err has a kind, and its text has all words.
func wantKind(t *testing.T, err error, kind Kind, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind {
		t.Fatalf("got error %v (%T), want one of kind %d", err, err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got error %q, want %q in it", err, w)
		}
	}
}

func TestPublishAndLast(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		c := connected(t, options(s))
		if got := c.Info(); got.Mode != m.want || !strings.HasPrefix(got.ServerVersion, m.version+".") || got.Server != s.URL || got.MaxPayload != 1<<20 {
			t.Errorf("got %+v, want mode %s of a server %s at %s", got, m.want, m.version, s.URL)
		}
		if last := lastOf(t, c); last.Found || last.Sequence != 0 || last.Stream.Name != "S" || last.Stream.Created.IsZero() {
			t.Errorf("got %+v of an empty stream, want nothing found", last)
		}
		var cursor delivery.Cursor
		for from, i := 0, 0; from < 2500; i++ {
			n := []int{1, 2, 997, 500, 1000}[i]
			b := batchOf(from, n, cursor, fileA)
			if got := publish(t, c, b); got != uint64(from+n) {
				t.Fatalf("got sequence %d, want %d", got, from+n)
			}
			from, cursor = from+n, b.Cursor
			other := connected(t, options(s))
			if last := lastOf(t, other); !last.Found || fileA.at(last.Cursor) != from || last.Sequence != uint64(from) || last.StreamLast != uint64(from) {
				t.Fatalf("got %+v, want all %d", last, from)
			}
			other.Close()
		}
		wantOnce(t, s, 2500, fileA)
	})
}

func TestBatchLargerThanTheServerTakes(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		c := connected(t, options(s))
		lastOf(t, c)
		publish(t, c, batchOf(0, 1700, nil, fileA, fileB))
		last := lastOf(t, c)
		if a, b := fileA.at(last.Cursor), fileB.at(last.Cursor); a != 1700 || b != 1700 {
			t.Errorf("got positions %d and %d, want both 1700", a, b)
		}
		wantOnce(t, s, 1700, fileA, fileB)
	})
}

// deliver publishes batches until n records of each file are delivered. It connects and looks again
// after each error that passes, and counts those.
func deliver(ctx context.Context, opt Options, n, batch int, files ...file) (errs int, err error) {
	for {
		done, err := deliverOnce(ctx, opt, n, batch, files...)
		if done || ctx.Err() != nil {
			return errs, ctx.Err()
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind == Refused {
			return errs, err
		}
		errs++
	}
}

func deliverOnce(ctx context.Context, opt Options, n, batch int, files ...file) (done bool, err error) {
	c, err := Connect(ctx, opt)
	if err != nil {
		return false, err
	}
	defer c.Close()
	for {
		last, err := c.Last(ctx)
		if err != nil {
			return false, err
		}
		cursor := last.Cursor
		for err == nil {
			b := nextBatch(cursor, n, batch, files)
			if len(b.Records) == 0 {
				return true, nil
			}
			_, err = c.Publish(ctx, b)
			cursor = b.Cursor
		}
		if !isStale(err) {
			return false, err
		}
	}
}

// nextBatch returns the next records behind a cursor. Files take turns.
func nextBatch(cursor delivery.Cursor, n, batch int, files []file) *spool.Batch {
	b := &spool.Batch{Cursor: append(delivery.Cursor(nil), cursor...)}
	for more := true; more; {
		more = false
		for _, f := range files {
			if i := f.at(b.Cursor); i < n && len(b.Records) < batch {
				b.Records = append(b.Records, f.record(i))
				b.Cursor = b.Cursor.With(b.Records[len(b.Records)-1].End)
				more = true
			}
		}
	}
	return b
}
