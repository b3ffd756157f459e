package session

import (
	"math"
	"math/bits"
	"sync"

	"tcpmux/daemon/framing"
)

// minPiece is how long the beginning of a message has to be to be recorded as a piece: longer than
// what frames a message.
const minPiece = 128

// Spill bounds what the beginnings of messages that have not come whole take together, as far as
// they were moved out of the kernel. Safe for concurrent use.
type Spill struct {
	mu    sync.Mutex
	limit int64
	used  int64
	// holders are those that hold something and have not been pressed since, by the length of
	// its size in bits: the last set that is not empty has one that holds at least half as much
	// as the largest.
	holders [bits.UintSize + 1]map[*Recorder]struct{}
}

// NewSpill returns one without a bound.
func NewSpill() *Spill { return &Spill{limit: math.MaxInt64} }

// Resize changes the bound. What is held above it is given up when a session asks for more.
func (p *Spill) Resize(limit int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limit
}

// Used returns how many bytes are held.
func (p *Spill) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// reserve reports whether r may hold n bytes from now on, in place of what it holds. When it may
// not, the one that holds most is pressed to give up what it holds.
func (p *Spill) reserve(r *Recorder, n int) bool {
	p.mu.Lock()
	if p.used+int64(n-r.spilled) <= p.limit {
		p.setLocked(r, n)
		p.mu.Unlock()
		return true
	}
	victim := p.largestLocked()
	p.mu.Unlock()
	if victim != nil && victim != r {
		victim.press()
	}
	return false
}

// hold notes that r holds n bytes, which are no more than it may.
func (p *Spill) hold(r *Recorder, n int) {
	if n == r.spilled { // only r's own goroutine changes it
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setLocked(r, n)
}

func (p *Spill) setLocked(r *Recorder, n int) {
	delete(p.holders[bits.Len(uint(r.spilled))], r)
	p.used += int64(n - r.spilled)
	r.spilled = n
	if n == 0 {
		return
	}
	class := &p.holders[bits.Len(uint(n))]
	if *class == nil {
		*class = make(map[*Recorder]struct{})
	}
	(*class)[r] = struct{}{}
}

// largestLocked removes one that holds most from the holders: it is asked once.
func (p *Spill) largestLocked() *Recorder {
	for i := len(p.holders) - 1; i > 0; i-- {
		for r := range p.holders[i] {
			delete(p.holders[i], r)
			return r
		}
	}
	return nil
}

// press has the session record what it holds of a message. It may be called from any goroutine.
func (r *Recorder) press() {
	r.pressed.Store(true)
	r.s.Conn.Wake()
	r.s.Env.Ring()
}

// yield records what is held of a message as a piece of it.
func (r *Recorder) yield() error {
	if len(r.moved) == 0 {
		return nil
	}
	b := r.borrow()
	b.move, b.cut = true, true
	return r.take(framing.Whole)
}

// fits reports whether rest, the beginning of a message, may be kept by us, if it cannot stay in
// the kernel.
func (r *Recorder) fits(rest []byte) bool {
	if r.stays(rest) {
		return true
	}
	n := len(rest)
	if n >= cap(r.moved)/2 { // else keep lets go of moved
		n = max(n, cap(r.moved))
	}
	return !r.buf.cut && r.s.Env.Spill.reserve(r, n)
}
