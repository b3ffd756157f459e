package session

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/daemon/record"
)

// otherEncoder is of another kind than those that it takes the place of.
type otherEncoder struct{ *record.Encoder }

func newEncoder() Encoder { return record.NewEncoder(record.Text) }

func newOtherEncoder() Encoder { return otherEncoder{record.NewEncoder(record.Text)} }

// TestBuffersAreBounded: those who want one more wait for one that comes back.
func TestBuffersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewBuffers(newEncoder)
		var lent []*Buffer
		for range maxBuffers {
			lent = append(lent, p.Get())
		}
		var another *Buffer
		go func() { another = p.Get() }()
		synctest.Wait()
		if another != nil {
			t.Fatalf("got a buffer while all %d are lent", maxBuffers)
		}
		p.Put(lent[3])
		synctest.Wait()
		if another != lent[3] {
			t.Errorf("got %p, want the one that came back, %p", another, lent[3])
		}
	})
}

// TestABufferComesBackEmpty, and without what an unusual client had it grow to.
func TestABufferComesBackEmpty(t *testing.T) {
	for _, size := range []int{BatchSize, 3 * BatchSize} {
		p := NewBuffers(newEncoder)
		b := p.Get()
		b.n, b.last, b.cut = 7, true, true
		b.out, b.Frame = make([]byte, size), make([]byte, size)
		b.framed.Raw, b.Message.Raw = b.out, b.out
		p.Put(b)
		if b = p.Get(); b.peekResult != (peekResult{}) || len(b.out) > 0 || b.framed.Raw != nil || b.Message.Raw != nil {
			t.Errorf("%d bytes: got %+v and %d bytes of output, want it empty", size, b.peekResult, len(b.out))
		}
		if kept := cap(b.out) == size && cap(b.Frame) == size; kept != (size == BatchSize) {
			t.Errorf("%d bytes: got it kept: %v", size, kept)
		}
	}
}

// TestPauseWaitsForLentBuffers and keeps all until resume; those who wait go on with the encoders
// that were set.
func TestPauseWaitsForLentBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewBuffers(newEncoder)
		lent, idle := p.Get(), p.Get()
		p.Put(idle)
		var resume func()
		go func() { resume = p.Pause(t.Context()) }()
		synctest.Wait()
		if resume != nil {
			t.Fatal("paused while a buffer is lent")
		}
		p.Put(lent)
		synctest.Wait()
		if resume == nil {
			t.Fatal("not paused when all buffers are back")
		}
		var got *Buffer
		go func() { got = p.Get() }()
		synctest.Wait()
		if got != nil {
			t.Fatal("got a buffer during the pause")
		}
		p.SetEncoder(newOtherEncoder)
		resume()
		synctest.Wait()
		for _, b := range []*Buffer{got, p.Get(), p.Get()} { // used ones and a new one
			if _, ok := b.encoder.(otherEncoder); !ok {
				t.Errorf("encoder: got %T, want the one that was set", b.encoder)
			}
		}
	})
}

func TestPauseThatIsGivenUpChangesNothing(t *testing.T) {
	p := NewBuffers(newEncoder)
	lent := p.Get()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Which of a free place and a context that is done it sees first is not certain.
	for range 100 {
		if resume := p.Pause(ctx); resume != nil {
			t.Fatal("paused while a buffer is lent")
		}
	}
	p.Put(lent)
	if got := len(p.places); got != maxBuffers {
		t.Errorf("buffers that may be lent: got %d, want all %d", got, maxBuffers)
	}
}

// TestPauseBesideManyBusySessions waits for those that are before it, once.
func TestPauseBesideManyBusySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewBuffers(newEncoder)
		over := make(chan struct{})
		var running sync.WaitGroup
		defer running.Wait()
		defer close(over)
		const sessions, turn = 2000, 10 * time.Millisecond
		for range sessions {
			running.Go(func() {
				for {
					b := p.Get()
					time.Sleep(turn)
					p.Put(b)
					select {
					case <-over:
						return
					default:
					}
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		resume := p.Pause(ctx)
		if resume == nil {
			t.Fatalf("got no pause within %v", time.Since(began))
		}
		if took, most := time.Since(began), (sessions/maxBuffers+2)*turn; took > most {
			t.Errorf("got a pause after %v, want it within %v, when each session has had a buffer", took, most)
		}
		if !p.exhausted() {
			t.Error("got buffers that are lent during the pause")
		}
		resume()
	})
}
