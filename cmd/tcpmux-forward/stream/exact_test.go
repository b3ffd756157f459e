package stream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

// TestTwoAtOnce has two forwarders deliver the same files under the same name. They take the files
// in another order, so that neither does what the other one does.
func TestTwoAtOnce(t *testing.T) {
	const n = 1500
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		connected(t, options(s)) // makes the stream
		var both sync.WaitGroup
		for i, files := range [][]file{{fileA, fileB}, {fileB, fileA}} {
			both.Go(func() {
				if _, err := deliver(context.Background(), options(s), n, []int{70, 700}[i], files...); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		wantOnce(t, s, n, fileA, fileB)
	})
}

// TestSharedStream has another machine publish all the time, and two forwarders at once.
func TestSharedStream(t *testing.T) {
	const n = 100
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		connected(t, options(s)) // makes the stream
		stop := floodFrom(t, s)
		var both sync.WaitGroup
		for _, files := range [][]file{{fileA, fileB}, {fileB, fileA}} {
			both.Go(func() {
				if _, err := deliver(context.Background(), options(s), n, 50, files...); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		stop()
		wantOnce(t, s, n, fileA, fileB)
	})
}

// floodFrom has another host publish until the function is called that it returns.
func floodFrom(t *testing.T, s *natstest.Server) (stop func()) {
	t.Helper()
	nc := s.Connect()
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(64))
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	var flood sync.WaitGroup
	flood.Go(func() {
		for !over.Load() {
			_, err := js.PublishAsync("tcpmux.other.l.message", []byte("x"))
			if errors.Is(err, nats.ErrTooManyStalledMsgs) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() { over.Store(true); flood.Wait() }
}

func TestServerIsKilled(t *testing.T) {
	const n, kills = 4000, 3
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		connected(t, options(s)) // makes the stream
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			_, err := deliver(ctx, options(s), n, 700, fileA, fileB)
			done <- err
		}()
		for range kills {
			waitForMore(t, s)
			s.Restart()
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantOnce(t, s, n, fileA, fileB)
	})
}

// waitForMore waits until the stream has grown.
func waitForMore(t *testing.T, s *natstest.Server) {
	t.Helper()
	js, err := s.Connect(nats.NoReconnect()).JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	var first uint64
	for i := 0; ; i++ {
		info, err := js.StreamInfo("S")
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = info.State.LastSeq
		}
		if info.State.LastSeq > first || first >= 8000 {
			return
		}
	}
}
