// Package admission decides who may come in. It promises that a decision takes microseconds and waits for nothing, and that what it
// remembers of sources is bounded however many there are. It has never heard of a socket: plain values go in, a verdict comes out.
package admission

import (
	"net/netip"
	"time"
)

// Verdict is what was decided on a client, and why.
type Verdict uint8

const (
	// Admitted lets the client in.
	Admitted Verdict = iota
	// Denied is for an address that the rules do not let in.
	Denied
	// Untimely is for who comes outside the hours.
	Untimely
	// Crowded is for a source that has as many clients as it may.
	Crowded
	// Hasty is for a source whose clients come faster than they may.
	Hasty
	// Exhausted is for who comes when there is no descriptor left; no gate says so.
	Exhausted
	// Unproxied is for who comes by itself where only proxies may; no gate says so.
	Unproxied
	// Verdicts is how many there are.
	Verdicts = iota
)

// String is the word that logs show: "admitted", "denied", "hours", "source", "rate", "descriptors" or "proxy".
func (v Verdict) String() string {
	return [...]string{"admitted", "denied", "hours", "source", "rate", "descriptors", "proxy"}[v]
}

// Gate is what a client has to pass; all of it must let it in. Safe for concurrent use while its fields do not change.
type Gate struct {
	// Rules are about addresses; nil lets everybody in.
	Rules *Rules
	// Hours are when they come in.
	Hours Hours
	// Sources are about what a source takes: each counts for itself. A client counts in all of them or in none.
	Sources [2]*Sources
}

// Enter decides on a client from addr that comes now. One that is admitted counts until its pass is given back.
func (g Gate) Enter(addr netip.Addr, now time.Time) (p Pass, v Verdict) {
	addr = addr.Unmap()
	if !g.Rules.Admit(addr) {
		return p, Denied
	}
	if !g.Hours.Open(now) {
		return p, Untimely
	}
	for i, s := range g.Sources {
		if p[i], v = s.enter(addr, now); v != Admitted {
			p.Release()
			return Pass{}, v
		}
	}
	return p, Admitted
}

// Return counts a client from addr that was let in before, by another gate, whatever this one says.
func (g Gate) Return(addr netip.Addr) (p Pass) {
	for i, s := range g.Sources {
		p[i] = s.count(addr.Unmap())
	}
	return p
}

// Pass is an admitted client's. The zero value is one of nobody.
type Pass [2]place

// place is one client of one source.
type place struct {
	in  *Sources
	key source
}

// Release says that the client has left. It is called once.
func (p Pass) Release() {
	for _, at := range p {
		if at.in != nil {
			at.in.leave(at.key)
		}
	}
}
