// Package admission decides which clients are admitted: by their address, by the time of day, and
// by how many clients a source has and how fast they come. A decision takes microseconds and waits
// for nothing. The memory for sources is bounded, however many sources there are. Values go in and
// a verdict comes out; no sockets are involved.
package admission

import (
	"net/netip"
	"time"
)

// Verdict is the decision about a client, with its reason.
type Verdict uint8

const (
	// Admitted means that the client is served.
	Admitted Verdict = iota
	// Denied means that the rules deny the address.
	Denied
	// Untimely means that no clients are admitted at this hour.
	Untimely
	// Crowded means that the source has as many clients as it may have.
	Crowded
	// Hasty means that the clients of the source come faster than they may.
	Hasty
	// Exhausted means that no descriptor is free. A Gate never returns it.
	Exhausted
	// Unproxied means that only proxies may connect. A Gate never returns it.
	Unproxied
	// Draining means that the listener serves no new clients for now. A Gate never returns it.
	Draining
	// Full means that the listener has as many clients as it may have, and no backlog: a mux
	// has the client. A Gate never returns it.
	Full
	// Verdicts is the number of verdicts.
	Verdicts = iota
)

// String returns the word for logs: "admitted", "denied", "hours", "source", "rate", "descriptors",
// "proxy", "draining" or "clients".
func (v Verdict) String() string {
	return [...]string{"admitted", "denied", "hours", "source", "rate", "descriptors", "proxy", "draining", "clients"}[v]
}

// Gate is a set of conditions. A client is admitted if it meets all of them. The zero value admits
// every client. A Gate is safe for concurrent use while its fields do not change.
type Gate struct {
	// Rules are the rules for addresses; nil admits all.
	Rules *Rules
	// Hours are when clients are admitted; none means always.
	Hours Hours
	// Sources limit what each source takes. A client counts in both or in neither. nil limits
	// nothing.
	Sources [2]*Sources
}

// Enter decides about a client from addr that connects now. An admitted client counts until its
// pass is released.
func (g *Gate) Enter(addr netip.Addr, now time.Time) (p Pass, v Verdict) {
	addr = addr.Unmap()
	if v = g.open(addr, now); v != Admitted {
		return p, v
	}
	var taken places
	for i, s := range g.Sources {
		if taken[i], v = s.enter(addr, now); v != Admitted {
			taken.release()
			return Pass{}, v
		}
	}
	return passOf(taken), Admitted
}

// open reports whether the gate is open for an address now: the verdict is Admitted if it is.
func (g *Gate) open(addr netip.Addr, now time.Time) Verdict {
	switch {
	case g.Rules != nil && !g.Rules.Admit(addr):
		return Denied
	case len(g.Hours) > 0 && !g.Hours.Open(now):
		return Untimely
	}
	return Admitted
}

// Transfer decides about a client from addr that goes over from another gate, which has the second
// Sources in common with this one and has given it p. An admitted client has another pass in p from
// then on; else it keeps that.
func (g *Gate) Transfer(p *Pass, addr netip.Addr, now time.Time) Verdict {
	addr = addr.Unmap()
	if v := g.open(addr, now); v != Admitted {
		return v
	}
	var taken places
	if p.places != nil {
		taken = *p.places
	}
	// In the second it counts already, and has come once.
	if taken[0].in == nil && g.Sources[0].unlimited() {
		return Admitted
	}
	v := g.Sources[0].replace(&taken[0], addr, now)
	*p = passOf(taken)
	return v
}

// AdmitsAll reports whether Transfer admits every client that has p, whatever its address is and
// the time, and changes nothing.
func (g *Gate) AdmitsAll(p Pass) bool {
	here := p.places != nil && p.places[0].in != nil
	return g.Rules == nil && len(g.Hours) == 0 && !here && g.Sources[0].unlimited()
}

// Return counts a client from addr that another gate has admitted before, whatever the limits are.
func (g *Gate) Return(addr netip.Addr) Pass {
	var taken places
	for i, s := range g.Sources {
		taken[i] = s.count(addr.Unmap())
	}
	return passOf(taken)
}

// Pass is what an admitted client takes. The zero value takes nothing.
type Pass struct {
	places *places // nil: none, which is most often so
}

// places are a client's with each of a Gate's Sources.
type places [2]place

func passOf(taken places) Pass {
	if taken == (places{}) {
		return Pass{}
	}
	kept := taken // only this is on the heap
	return Pass{&kept}
}

// place is one client of a source.
type place struct {
	in  *Sources
	key source
}

// Release ends the client's count. Call it once.
func (p Pass) Release() {
	if p.places != nil {
		p.places.release()
	}
}

func (p *places) release() {
	for i := range p {
		p[i].leave()
	}
}

func (at *place) leave() {
	if at.in != nil {
		at.in.leave(at.key)
	}
}
