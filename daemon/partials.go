package daemon

import (
	"math"
	"math/bits"
	"sync"

	"tcpmux/daemon/framing"
)

// minPiece is how long the beginning of a message has to be to be recorded as a piece: longer than what frames a message.
const minPiece = 64

// partials bound what the beginnings of messages that have not come whole take together, as far as they were moved out of the
// kernel. Safe for concurrent use.
type partials struct {
	mu    sync.Mutex
	limit int64
	used  int64
	// holders are those who hold something and have not been pressed since, by the length of its size in bits: the last one that is
	// not empty has one who holds at least half as much as whoever holds most.
	holders [bits.UintSize + 1]map[*talk]struct{}
}

func newPartials() *partials { return &partials{limit: math.MaxInt64} }

// resize changes the bound. What is held above it is given up when somebody asks for more.
func (p *partials) resize(limit int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limit
}

// reserve says whether t may hold n bytes from now on, in place of what it holds. When it may not, the one that holds most is pressed
// to give up what it holds.
func (p *partials) reserve(t *talk, n int) bool {
	p.mu.Lock()
	if p.used+int64(n-t.held) <= p.limit {
		p.set(t, n)
		p.mu.Unlock()
		return true
	}
	victim := p.largest()
	p.mu.Unlock()
	if victim != nil && victim != t {
		victim.press()
	}
	return false
}

// hold notes that t holds n bytes, which are no more than it may.
func (p *partials) hold(t *talk, n int) {
	if n == t.held { // only t changes it
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(t, n)
}

func (p *partials) set(t *talk, n int) {
	delete(p.holders[bits.Len(uint(t.held))], t)
	p.used += int64(n - t.held)
	t.held = n
	if n == 0 {
		return
	}
	class := &p.holders[bits.Len(uint(n))]
	if *class == nil {
		*class = make(map[*talk]struct{})
	}
	(*class)[t] = struct{}{}
}

// largest takes one that holds most out of the holders: it is asked once.
func (p *partials) largest() *talk {
	for i := len(p.holders) - 1; i > 0; i-- {
		for t := range p.holders[i] {
			delete(p.holders[i], t)
			return t
		}
	}
	return nil
}

// press has the session of t record what it holds of a message. It may be called from anywhere.
func (t *talk) press() {
	t.pressed.Store(true)
	t.wake()
	t.server.ringBell()
}

// yield records what is held of a message as a piece of it.
func (t *talk) yield() error {
	if len(t.moved) == 0 {
		return nil
	}
	ws := t.borrow()
	ws.move, ws.cut = true, true
	return t.take(framing.Whole)
}

// fits says whether rest, the beginning of a message, may be kept by us, if it cannot stay in the kernel.
func (t *talk) fits(rest []byte) bool {
	if t.stays(rest) {
		return true
	}
	n := len(rest)
	if n >= cap(t.moved)/2 { // else keep lets go of moved
		n = max(n, cap(t.moved))
	}
	return !t.ws.cut && t.server.partials.reserve(t, n)
}
