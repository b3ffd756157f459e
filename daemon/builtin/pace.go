package builtin

import (
	"sync/atomic"
	"time"
)

const (
	// bytesPerSecond is how many bytes of a client are carried in a second.
	bytesPerSecond = 1 << 20
	// leastCost is what a read or a write counts as at least: single bytes make work too.
	leastCost = 1 << 10
	// burst is how much may be carried at once after a time without anything.
	burst = time.Second
	// leastPause is the shortest: shorter ones are put together.
	leastPause = 10 * time.Millisecond
)

// pace bounds the rate of a session. The zero value is ready.
type pace struct {
	paid   time.Time                     // until when there was time for what was carried
	paused atomic.Pointer[chan struct{}] // ends the pause that is under way; nil: none is
}

// spend notes that n bytes are carried, and returns how long to pause.
func (p *pace) spend(n int, now time.Time) time.Duration {
	if least := now.Add(-burst); p.paid.Before(least) {
		p.paid = least
	}
	p.paid = p.paid.Add(time.Duration(max(n, leastCost)) * time.Second / bytesPerSecond)
	if pause := p.paid.Sub(now); pause >= leastPause {
		return pause
	}
	return 0
}

// pause waits, unless it is woken or over reports true.
func (p *pace) pause(d time.Duration, over func() bool) {
	if d == 0 {
		return
	}
	wake := make(chan struct{}, 1)
	p.paused.Store(&wake)
	defer p.paused.Store(nil)
	if over() { // before it could be woken
		return
	}
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-wake:
	case <-late.C:
	}
}

// wake ends the pause that is under way. It may be called from any goroutine.
func (p *pace) wake() {
	if c := p.paused.Load(); c != nil {
		select {
		case *c <- struct{}{}:
		default:
		}
	}
}
