package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
)

// fakeStream behaves as stream.Conn promises, and fails as often as it is told to. Its sequence is
// that of the whole stream, which other machines publish to as well.
type fakeStream struct {
	mu       sync.Mutex
	rnd      *rand.Rand
	faults   int // one in so many calls fails; 0: none does
	id       delivery.Stream
	messages []fakeMessage
	sequence uint64
}

type fakeMessage struct {
	sequence uint64
	path     delivery.Key
	line     string
	cursor   delivery.Cursor
}

var errFault = &stream.Error{Kind: stream.Outage, Err: errors.New("a fault of the test")}

func newFakeStream(seed uint64, faults int) *fakeStream {
	return &fakeStream{rnd: rand.New(rand.NewPCG(seed, 2)), faults: faults,
		id: delivery.Stream{Name: "TCPMUX", Created: time.Unix(1_700_000_000, 0).UTC()}}
}

// failsLocked reports whether a call fails.
func (s *fakeStream) failsLocked() bool { return s.faults > 0 && s.rnd.IntN(s.faults) == 0 }

// lines returns what was stored of a path.
func (s *fakeStream) lines(path delivery.Key) (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if m.path == path {
			lines = append(lines, m.line)
		}
	}
	return lines
}

// rollBack loses the last n messages, as a server does whose machine fails.
func (s *fakeStream) rollBack(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = s.messages[:max(0, len(s.messages)-n)]
	s.sequence = s.lastLocked()
}

func (s *fakeStream) lastLocked() uint64 {
	if len(s.messages) == 0 {
		return 0
	}
	return s.messages[len(s.messages)-1].sequence
}

// fakeConn is a connection to a fakeStream.
type fakeConn struct {
	s    *fakeStream
	last uint64
}

func (s *fakeStream) connect(context.Context, stream.Options) (connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failsLocked() {
		return nil, errFault
	}
	return &fakeConn{s: s}, nil
}

func (c *fakeConn) Last(context.Context) (stream.Last, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.failsLocked() {
		return stream.Last{}, errFault
	}
	c.last = c.s.lastLocked()
	l := stream.Last{Stream: c.s.id, StreamFirst: 1, StreamLast: c.s.sequence, Sequence: c.last}
	if l.Found = c.last > 0; l.Found {
		l.Cursor = slices.Clone(c.s.messages[len(c.s.messages)-1].cursor)
	}
	return l, nil
}

func (c *fakeConn) Holds(_ context.Context, sequence uint64) (bool, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return sequence <= c.s.sequence && c.last < sequence, nil // nothing is ever removed
}

// Publish stores all, or a piece from the beginning, and may not tell.
func (c *fakeConn) Publish(_ context.Context, b *spool.Batch) (uint64, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.lastLocked() != c.last {
		return 0, &stream.Error{Kind: stream.Stale, Err: errors.New("another has published")}
	}
	stored, silent := len(b.Records), c.s.failsLocked()
	if c.s.failsLocked() {
		stored, silent = c.s.rnd.IntN(len(b.Records)), true
	}
	cursor := delivery.Cursor{}
	if n := len(c.s.messages); n > 0 {
		cursor = c.s.messages[n-1].cursor
	}
	for i, r := range b.Records[:stored] {
		if cursor = slices.Clone(cursor).With(r.End); i == len(b.Records)-1 {
			cursor = slices.Clone(b.Cursor)
		}
		c.s.sequence += 1 + c.s.rnd.Uint64N(3)
		c.s.messages = append(c.s.messages, fakeMessage{c.s.sequence, r.End.Key, string(r.Line), cursor})
	}
	c.last = c.s.lastLocked()
	if silent {
		return 0, errFault
	}
	return c.last, nil
}

func (c *fakeConn) Closed() <-chan struct{} { return nil }
func (c *fakeConn) Info() stream.Info       { return stream.Info{Server: "nats://test", Mode: stream.Atomic} }
func (c *fakeConn) Close()                  {}

// writer writes records to files that rotate all the time.
type writer struct {
	files []*recordfile.File
	lines [][]string
	enc   *record.Encoder
	n     int64
}

func newWriter(t *testing.T, paths ...string) *writer {
	t.Helper()
	w := &writer{enc: record.NewEncoder(record.JSON), lines: make([][]string, len(paths))}
	for _, p := range paths {
		f, err := recordfile.Open(recordfile.Options{Path: p, Mode: 0o640, MaxSize: 8 << 10, Compress: true, Format: record.JSON, Sync: recordfile.SyncNever})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		w.files = append(w.files, f)
	}
	return w
}

// write writes one record to each file.
func (w *writer) write(t *testing.T) {
	t.Helper()
	for i, f := range w.files {
		w.n++
		src := &record.Source{Listener: "tcpmux", Session: fmt.Sprintf("8f3a-%x", w.n%7), Remote: "192.0.2.7:40312"}
		w.enc.Begin(src, time.Unix(1_800_000_000, w.n*1000).UTC())
		line := w.enc.Message(nil, &record.Message{Offset: w.n, Raw: fmt.Appendf(nil, "message %d\n", w.n), EndLen: 1})
		if _, err := f.Write(line); err != nil {
			t.Error(err)
		}
		w.lines[i] = append(w.lines[i], string(line[:len(line)-1]))
	}
}

// newForwarder returns a Forwarder that delivers to s.
func newForwarder(t *testing.T, cfg config.Config, s *fakeStream, once bool) *Forwarder {
	t.Helper()
	f, err := New(Options{Config: cfg, Log: slog.New(slog.DiscardHandler), Once: once})
	if err != nil {
		t.Fatal(err)
	}
	f.connect = s.connect
	return f
}

// kill ends a Forwarder without letting it save anything.
func (f *Forwarder) kill() {
	_ = f.files().Close()
	_ = f.journal.lock.Close()
}

// TestEachRecordIsStoredOnce delivers files that grow and rotate, by forwarders that are killed, to
// a stream that loses answers, stores pieces and rolls back.
func TestEachRecordIsStoredOnce(t *testing.T) {
	for _, c := range []struct {
		name     string
		rollBack bool
	}{{"faults and kills", false}, {"and a stream that rolls back", true}} {
		t.Run(c.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 1))
			cfg := forwarding(t)
			dir := t.TempDir()
			cfg.Record.File, cfg.Record.Format = filepath.Join(dir, "records.log"), "json"
			own := cfg.Listeners[0]
			own.Name, own.File = "own", filepath.Join(dir, "own.log")
			cfg.Listeners = append(cfg.Listeners, own)
			w := newWriter(t, cfg.Record.File, own.File)
			s := newFakeStream(seed, 6)
			for range 25 {
				f := newForwarder(t, cfg, s, false)
				ctx, cancel := context.WithCancel(t.Context())
				over := make(chan error, 1)
				go func() { over <- f.Run(ctx) }()
				for range 10 + rnd.IntN(30) {
					w.write(t)
				}
				time.Sleep(rand.N(200 * time.Millisecond)) // a kill may come at any moment
				cancel()
				if err := <-over; err != nil {
					t.Fatal(err)
				}
				if f.kill(); c.rollBack && rnd.IntN(3) == 0 {
					s.rollBack(rnd.IntN(40))
				}
			}
			s.faults = 0
			f := newForwarder(t, cfg, s, true)
			if err := f.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if st := f.Status(); st.Lag.Bytes != 0 {
				t.Errorf("got a lag of %d bytes, want 0", st.Lag.Bytes)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			for i, path := range []string{cfg.Record.File, own.File} {
				if got := s.lines(delivery.KeyOf(path)); !slices.Equal(got, w.lines[i]) {
					t.Errorf("%s: got %d records in the stream, want the %d that were written, in order", filepath.Base(path), len(got), len(w.lines[i]))
				}
			}
		})
	}
}
