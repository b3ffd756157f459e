package conn_test

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wake wakes, as those do who use a Conn from another goroutine.
func (p *pair) wake() {
	p.Wake()
	p.ring()
}

// expire expires, as those do who use a Conn from another goroutine.
func (p *pair) expire() {
	p.Expire()
	p.ring()
}

// deadlines are what a session may set after an interruption: that does not undo it.
var deadlines = map[string]func(p *pair){
	"no deadline set":     func(*pair) {},
	"deadline removed":    func(p *pair) { p.SetReadDeadline(time.Time{}); p.SetWriteDeadline(time.Time{}) },
	"deadline in an hour": func(p *pair) { later := time.Now().Add(time.Hour); p.SetReadDeadline(later); p.SetWriteDeadline(later) },
}

// everyDeadline runs a test with each implementation and what is done after an interruption.
func everyDeadline(t *testing.T, test func(t *testing.T, p *pair, set func(*pair))) {
	t.Helper()
	for name, set := range deadlines {
		t.Run(name, func(t *testing.T) {
			everyKind(t, func(t *testing.T, p *pair) { test(t, p, set) })
		})
	}
}

// TestWakeBeforeAWait ends that one, even if there is something to read, and no other.
func TestWakeBeforeAWait(t *testing.T) {
	everyDeadline(t, func(t *testing.T, p *pair, set func(*pair)) {
		p.send("x")
		p.awaitUnread(t, 1)
		p.wake()
		p.wake()
		set(p)
		isDeadline(t, result(t, func() error { return p.Wait(func() bool { return true }) }))
		p.SetReadDeadline(time.Time{})
		if got, err := p.peek(t, 1); got != "x" || err != nil {
			t.Errorf("the wait after that: got %q, %v, want %q", got, err, "x")
		}
	})
}

// TestWakeDuringAWait ends it.
func TestWakeDuringAWait(t *testing.T) {
	everyDeadline(t, func(t *testing.T, p *pair, set func(*pair)) {
		set(p)
		ended := make(chan error, 1)
		go func() { ended <- p.Wait(never) }()
		select {
		case err := <-ended:
			t.Fatalf("got %v, want it to wait", err)
		case <-time.After(5 * time.Millisecond):
		}
		p.wake()
		isDeadline(t, next(t, ended))
	})
}

// TestWakeWithinTry, while the session looks, ends the next wait.
func TestWakeWithinTry(t *testing.T) {
	everyDeadline(t, func(t *testing.T, p *pair, set func(*pair)) {
		p.send("x")
		if err := result(t, func() error { return p.Wait(func() bool { p.wake(); return p.Unread() > 0 }) }); err != nil {
			isDeadline(t, err) // it had not come when the session looked first
		}
		p.wake()
		set(p)
		isDeadline(t, result(t, func() error { return p.Wait(never) }))
	})
}

func TestWakeDoesNotEndAWrite(t *testing.T) {
	everyDeadline(t, func(t *testing.T, p *pair, set func(*pair)) {
		p.wake()
		set(p)
		if err := result(t, func() error { return p.Write([]byte("x")) }); err != nil {
			t.Error(err)
		}
		fill(t, p)
		ended := make(chan error, 1)
		go func() { ended <- p.Write([]byte(strings.Repeat("x", 16<<20))) }()
		p.wake()
		p.setTaking(true)
		if err := next(t, ended); err != nil {
			t.Error(err)
		}
	})
}

// TestExpireIsForGood: no later deadline and no number of waits undoes it.
func TestExpireIsForGood(t *testing.T) {
	everyDeadline(t, func(t *testing.T, p *pair, set func(*pair)) {
		p.send("x")
		p.awaitUnread(t, 1)
		p.expire()
		for range 3 {
			set(p)
			isDeadline(t, result(t, func() error { return p.Wait(func() bool { return true }) }))
			isDeadline(t, result(t, func() error { return p.Write([]byte("x")) }))
			p.wake()
		}
		if got, err := p.peekNow(); got != "x" || err != nil {
			t.Errorf("peek: got %q, %v, want what has come", got, err)
		}
		if n, err := p.TryWrite([]byte("x")); n != 1 || err != nil {
			t.Errorf("try: got %d, %v, want what fits to be sent", n, err)
		}
	})
}

// TestExpireEndsWhatWaits: a read as well as a write.
func TestExpireEndsWhatWaits(t *testing.T) {
	for name, wait := range map[string]func(t *testing.T, p *pair) func() error{
		"wait": func(*testing.T, *pair) func() error { return nil },
		"write": func(t *testing.T, p *pair) func() error {
			fill(t, p)
			return func() error { return p.Write([]byte(strings.Repeat("x", 16<<20))) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyDeadline(t, func(t *testing.T, p *pair, set func(*pair)) {
				do := wait(t, p)
				if do == nil {
					do = func() error { return p.Wait(never) }
				}
				set(p)
				ended := make(chan error, 1)
				go func() { ended <- do() }()
				select {
				case err := <-ended:
					t.Fatalf("got %v, want it to wait", err)
				case <-time.After(5 * time.Millisecond):
				}
				p.expire()
				isDeadline(t, next(t, ended))
			})
		})
	}
}

// TestNoWakeIsLost, whatever the session does at that moment: what was set before a Wake is seen
// after a Wait.
func TestNoWakeIsLost(t *testing.T) {
	const rounds = 3000
	everyKind(t, func(t *testing.T, p *pair) {
		var set atomic.Int64
		seen, ended := make(chan int64, rounds+1), make(chan struct{})
		go func() {
			defer close(ended)
			rnd := rand.New(rand.NewPCG(1, 2))
			for last := int64(0); last < rounds; {
				look(p, rnd)
				if now := set.Load(); now > last {
					last = now
					seen <- now
				}
			}
		}()
		rnd := rand.New(rand.NewPCG(3, 4))
		for round := int64(1); round <= rounds; round++ {
			if rnd.IntN(2) == 0 {
				p.send("x")
			}
			set.Store(round)
			p.wake()
			if rnd.IntN(4) == 0 {
				continue // the next one comes at once
			}
			for next(t, seen) < round {
			}
		}
		_ = next(t, ended)
	})
}

// look is a step of a session that waits for bytes or a Wake, without a deadline that comes.
func look(p *pair, rnd *rand.Rand) {
	if rnd.IntN(2) == 0 {
		p.SetReadDeadline(time.Now().Add(time.Hour))
	} else {
		p.SetReadDeadline(time.Time{})
	}
	var buf [4]byte
	_ = p.Wait(func() bool {
		n, _ := p.Take(buf[:])
		return n > 0
	})
}

// TestNoExpireIsLost, whatever the session does at that moment.
func TestNoExpireIsLost(t *testing.T) {
	for seed := range uint64(100) {
		everyKind(t, func(t *testing.T, p *pair) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			ended := make(chan error, 1)
			go func() {
				for range 50 {
					look(p, rnd)
				}
				p.SetReadDeadline(time.Now().Add(time.Hour))
				ended <- p.Wait(never)
			}()
			for range rand.New(rand.NewPCG(seed, 1)).IntN(40) {
				p.send("x")
			}
			p.expire()
			isDeadline(t, next(t, ended))
		})
	}
}

// peekNow returns what has come by now.
func (p *pair) peekNow() (string, error) {
	var buf [10]byte
	n, err := p.Peek(buf[:])
	return string(buf[:max(n, 0)]), err
}
