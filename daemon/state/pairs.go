package state

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

const pairsMagic = 0x0a5249_41504d54 // "TMPAIR\n"

// Pairs is the file with what is to be known of the clients of proxies, and of the connections with
// their upstreams. It is a file of its own, as slots have no room for that and versions before 0.3
// do not know it. An entry that was never taken needs no memory. The methods may be called from any
// goroutine.
type Pairs struct {
	table[pairEntry, *pairEntry]
}

// NewPairs makes a file with the given number of entries.
func NewPairs(entries int) (*Pairs, error) {
	p := new(Pairs)
	if err := p.create("tcpmux-pairs", pairsMagic, entries); err != nil {
		return nil, err
	}
	return p, nil
}

// OpenPairs takes over the file of another process, and closes it after an error. From now on the
// Pairs owns the descriptor. Find returns the entries that the process left, and Forget frees the
// others.
func OpenPairs(fd int) (*Pairs, error) {
	p := new(Pairs)
	if err := p.open(fd, pairsMagic); err != nil {
		return nil, fmt.Errorf("state of connections with upstreams: %w", err)
	}
	return p, nil
}

// Side tells which of a proxy's two connections one is.
type Side uint64

// Sides. All others are damage.
const (
	Client   Side = 1 + iota // with a client
	Upstream                 // with an upstream
)

// Take returns an entry for one of two connections. Until Leave it has no mate, and both end with
// this process. Take returns nil if no entry is free.
func (p *Pairs) Take(cookie uint64, side Side) *PairEntry {
	if p == nil {
		return nil
	}
	i, ok := p.take(cookie)
	if !ok {
		return nil
	}
	e := &PairEntry{p, p.at(i), i}
	store(&e.at.side, uint64(side))
	return e
}

// Find returns the entry that another process left for a connection, once; nil if there is no such
// entry.
func (p *Pairs) Find(cookie uint64) *PairEntry {
	if p == nil {
		return nil
	}
	i, ok := p.find(cookie)
	if !ok {
		return nil
	}
	return &PairEntry{p, p.at(i), i}
}

// Forget frees the entries that Find has not returned: their connections no longer exist.
func (p *Pairs) Forget() {
	if p != nil {
		p.forget()
	}
}

// Close closes the file. It survives while another process has it. No entry may be used afterwards.
func (p *Pairs) Close() error {
	if p == nil {
		return nil
	}
	return p.close()
}

const pairEntrySize = 64

// pairEntry is a PairEntry in the file. The process may be killed between any two writes, so the
// others count only once there is a mate.
type pairEntry struct {
	cookie atomic.Uint64 // 0: free
	side   atomic.Uint64 // a Side
	mate   atomic.Uint64 // the cookie of the other connection; 0: it was not left
	moved  atomic.Uint64
	ended  atomic.Uint64 // 1: it has
	_      [24]byte
}

var _ [pairEntrySize]byte = [unsafe.Sizeof(pairEntry{})]byte{}

// PairEntry is what is known of one connection of a client and its upstream. It is for one
// goroutine at a time. The methods of a nil PairEntry do nothing and return zero values.
type PairEntry struct {
	file *Pairs
	at   *pairEntry
	i    int32
}

// Half is how one of two connections was left to the next process. Nothing is in between but what
// is on the shelves of their slots.
type Half struct {
	Mate  uint64 // the cookie of the other one
	Moved int    // bytes of its stream that are on the shelf
	Ended bool   // its stream has ended, and the other one was told
}

// Leave notes how the connection is left. That counts once the entry of the other one has the same
// (Mates).
func (e *PairEntry) Leave(h Half) {
	if e == nil {
		return
	}
	store(&e.at.mate, 0) // so that no half of a note counts
	store(&e.at.moved, uint64(h.Moved))
	ended := uint64(0)
	if h.Ended {
		ended = 1
	}
	store(&e.at.ended, ended)
	store(&e.at.mate, h.Mate)
}

// Half returns what Leave noted; the zero value if it was not called, or Join was since.
func (e *PairEntry) Half() Half {
	if e == nil || e.at.mate.Load() == 0 {
		return Half{}
	}
	return Half{Mate: e.at.mate.Load(), Moved: int(e.at.moved.Load()), Ended: e.at.ended.Load() != 0}
}

// Join undoes Leave: this process goes on, and if it is killed, the connection ends.
func (e *PairEntry) Join() {
	if e != nil {
		store(&e.at.mate, 0)
	}
}

// Side returns which connection it is; 0 for a nil PairEntry.
func (e *PairEntry) Side() Side {
	if e == nil {
		return 0
	}
	return Side(e.at.side.Load())
}

// Mates reports whether two connections were left as those of one client and its upstream: each has
// noted the other.
func Mates(client, upstream *PairEntry) bool {
	if client == nil || upstream == nil || client.Side() != Client || upstream.Side() != Upstream {
		return false
	}
	a, b := client.at.cookie.Load(), upstream.at.cookie.Load()
	return a != 0 && b != 0 && a != b && client.Half().Mate == b && upstream.Half().Mate == a
}

// Free frees the entry. It must not be used afterwards.
func (e *PairEntry) Free() {
	if e != nil {
		e.file.release(e.i)
	}
}

func (e *pairEntry) owner() *atomic.Uint64 { return &e.cookie }

// clear empties the entry. The cookie comes first, so that a half-empty entry is free.
func (e *pairEntry) clear() {
	store(&e.cookie, 0)
	store(&e.mate, 0)
	store(&e.side, 0)
	store(&e.moved, 0)
	store(&e.ended, 0)
}
