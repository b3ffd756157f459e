package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/daemon/control/api"
)

// flushes is an answer that counts how often it is written and flushed.
type flushes struct {
	header  http.Header
	writes  int
	flushed int
	bytes   int
}

func (f *flushes) Header() http.Header                { return f.header }
func (f *flushes) WriteHeader(int)                    {}
func (f *flushes) SetWriteDeadline(_ time.Time) error { return nil }
func (f *flushes) FlushError() error                  { f.flushed++; return nil }

func (f *flushes) Write(b []byte) (int, error) {
	f.writes++
	f.bytes += len(b)
	return len(b), nil
}

// waitingRecords is a subscription with a number of records that wait, and no others. encoding is
// called when the one behind another is asked for.
type waitingRecords struct {
	left     int
	encoding func()
}

func (w *waitingRecords) Next(ctx context.Context) (api.Record, error) {
	if ctx.Err() != nil && w.encoding != nil {
		w.encoding()
	}
	if w.left > 0 {
		w.left--
		return api.Record{Kind: "message", Data: make([]byte, 100)}, nil
	}
	if ctx.Err() != nil {
		return api.Record{}, ctx.Err()
	}
	return api.Record{}, errors.New("no more")
}

func (w *waitingRecords) Close() {}

// TestTailWritesManyRecordsAtOnce when they wait.
func TestTailWritesManyRecordsAtOnce(t *testing.T) {
	s := New(Options{Daemon: &fakeDaemon{}, Log: slog.New(slog.DiscardHandler)})
	out := &flushes{header: http.Header{}}
	const records = 1000
	s.stream(t.Context(), out, &waitingRecords{left: records})
	if out.bytes < records*100 {
		t.Fatalf("got %d bytes of %d records, want them all", out.bytes, records)
	}
	if most := out.bytes/tailLines + 1; out.writes > most || out.flushed > most+1 {
		t.Errorf("got %d writes and %d flushes of %d bytes, want at most %d", out.writes, out.flushed, out.bytes, most)
	}
}

// TestFewTailsEncodeAtOnce: the others leave the processors to the clients.
func TestFewTailsEncodeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Options{Daemon: &fakeDaemon{}, Log: slog.New(slog.DiscardHandler)}, func(l *limits) { l.encoding = 2 })
		var mu sync.Mutex
		encode, busy := make(chan struct{}), 0
		encoding := func() {
			mu.Lock()
			busy++
			mu.Unlock()
			<-encode
		}
		var tails sync.WaitGroup
		for range 50 {
			tails.Go(func() {
				s.stream(t.Context(), &flushes{header: http.Header{}}, &waitingRecords{left: 2, encoding: encoding})
			})
		}
		synctest.Wait()
		mu.Lock()
		if busy != 2 {
			t.Errorf("got %d tails of 50 that encode at once, want 2", busy)
		}
		mu.Unlock()
		close(encode)
		tails.Wait()
	})
}
