package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a writer that does what a test demands.
type script struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	calls int
	write func(call int, p []byte) (int, error) // nil, or n < 0: all is written
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	call := s.calls
	s.calls++
	s.mu.Unlock()
	n, err := -1, error(nil)
	if s.write != nil {
		n, err = s.write(call, p)
	}
	if n < 0 {
		n = len(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Write(p[:n])
	return n, err
}

// give writes lines as a session does.
func (s *Sink) give(lines []byte) error {
	ticket, err := s.Gather(lines, nil)
	if err != nil {
		return err
	}
	return s.Commit(ticket)
}

func untroubled(t *testing.T) func(error) {
	return func(err error) { t.Errorf("told of trouble: %v", err) }
}

func TestSinkServesAllWhoWaitByOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		out := &script{write: func(call int, _ []byte) (int, error) {
			if call == 0 {
				<-gate
			}
			return -1, nil
		}}
		s := New(out, untroubled(t))
		var done sync.WaitGroup
		for i := range 100 {
			done.Go(func() {
				if err := s.give(fmt.Appendf(nil, "%02d\n", i)); err != nil {
					t.Error(err)
				}
			})
			if i == 0 {
				synctest.Wait() // the first one is being written
			}
		}
		synctest.Wait()
		close(gate)
		done.Wait()
		if out.calls != 2 || out.buf.Len() != 300 {
			t.Errorf("got %d writes of %d bytes, want 2 of 300: one, then all that had gathered", out.calls, out.buf.Len())
		}
	})
}

// TestALongBatchIsNotWaitedWith by who makes it long, though another session is about to write.
func TestALongBatchIsNotWaitedWith(t *testing.T) {
	out := &script{}
	s := New(out, untroubled(t))
	s.writing, s.yielding = true, true
	if err := s.give(bytes.Repeat([]byte("x\n"), longBatch/2)); err != nil || out.buf.Len() != longBatch {
		t.Errorf("got %v and %d bytes written, want %d", err, out.buf.Len(), longBatch)
	}
	if s.writing || s.yielding {
		t.Errorf("got writing %v and yielding %v, want neither", s.writing, s.yielding)
	}
}

func TestSinkKeepsEachSessionsOrder(t *testing.T) {
	out := &script{}
	s := New(out, untroubled(t))
	var done sync.WaitGroup
	for c := range 20 {
		done.Go(func() {
			for i := range 500 {
				line := fmt.Appendf(nil, "%d %d\n", c, i)
				if err := s.give(line); err != nil {
					t.Error(err)
				}
				clear(line) // the sink may keep nothing of it
			}
		})
	}
	done.Wait()
	var next [20]int
	for line := range bytes.Lines(out.buf.Bytes()) {
		var c, i int
		if _, err := fmt.Sscanf(string(line), "%d %d\n", &c, &i); err != nil || next[c] != i {
			t.Fatalf("got %q (%v), want number %d", line, err, next[c])
		}
		next[c]++
	}
	for c, n := range next {
		if n != 500 {
			t.Errorf("session %d: got %d of 500 lines", c, n)
		}
	}
}

func TestSinkTriesUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("no space left on device")
		out := &script{write: func(call int, p []byte) (int, error) {
			if call == 0 {
				return len("one\n"), full // what was written is not written again
			}
			if call < 9 {
				return 0, full
			}
			return -1, nil
		}}
		var told []error
		s := New(out, func(err error) { told = append(told, err) })
		go func() {
			synctest.Wait()
			if err := s.Ping(t.Context()); err != nil { // a sink that fails is alive
				t.Error(err)
			}
			if !s.Failing() {
				t.Error("got a sink in order, want a failing one")
			}
		}()
		if err := s.give([]byte("one\ntwo\n")); err != nil {
			t.Error(err)
		}
		if got, want := out.buf.String(), "one\ntwo\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(told) != 2 || told[0] != full || told[1] != nil {
			t.Errorf("told %v, want the fault once and its end once", told)
		}
		if s.Failing() {
			t.Error("got a failing sink, want one in order")
		}
	})
}

func TestSinkThatFailsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &script{write: func(int, []byte) (int, error) { return 0, errors.New("no") }}
		s := New(out, func(error) {})
		line := append(bytes.Repeat([]byte("x"), 64<<10), '\n')
		var ended sync.WaitGroup
		for range 200 {
			ended.Go(func() {
				if err := s.give(line); !errors.Is(err, ErrClosed) {
					t.Errorf("got %v, want %v", err, ErrClosed)
				}
			})
		}
		time.Sleep(time.Hour)
		s.mu.Lock()
		if got, most := len(s.batch.lines), maxGather+len(line); got > most {
			t.Errorf("%d bytes are gathered, want at most %d", got, most)
		}
		s.mu.Unlock()
		s.Close()
		s.Close()
		ended.Wait()
		if err := s.give(line); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: got %v, want %v", err, ErrClosed)
		}
	})
}

func TestPingDoesNotWaitForTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(&script{write: func(int, []byte) (int, error) { return 0, errors.New("no") }}, func(error) {})
		go s.give([]byte("x\n"))
		time.Sleep(time.Hour + retryMax/2) // it is tried once a second
		start := time.Now()
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v, want nothing", waited)
		}
		s.Close()
	})
}

func TestFlushWaitsForWhatWasGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := New(&script{write: func(int, []byte) (int, error) { <-gate; return -1, nil }}, untroubled(t))
		if err := s.Flush(t.Context()); err != nil {
			t.Errorf("nothing gathered: got %v, want nil", err)
		}
		go s.give([]byte("x\n"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a write hangs: got %v, want %v", err, context.DeadlineExceeded)
		}
		time.AfterFunc(time.Minute, func() { close(gate) })
		if err := s.Flush(t.Context()); err != nil {
			t.Errorf("got %v, want nil once it is written", err)
		}
	})
}

func TestPingWaitsForAWriteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := New(&script{write: func(int, []byte) (int, error) { <-gate; return -1, nil }}, untroubled(t))
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("while nobody writes: got %v, want nil", err)
		}
		go s.give([]byte("x\n"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a write hangs: got %v, want %v", err, context.DeadlineExceeded)
		}
		time.AfterFunc(time.Minute, func() { close(gate) })
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("got %v, want nil once the write has returned", err)
		}
	})
}

func TestSinkAllocatesNothing(t *testing.T) {
	s := New(discard{}, untroubled(t))
	line := bytes.Repeat([]byte("x\n"), 50)
	if n := testing.AllocsPerRun(1000, func() {
		if err := s.give(line); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations for lines given and written, want 0", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
