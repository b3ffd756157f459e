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
	// Verdicts is the number of verdicts.
	Verdicts = iota
)

// String returns the word for logs: "admitted", "denied", "hours", "source", "rate", "descriptors",
// "proxy" or "draining".
func (v Verdict) String() string {
	return [...]string{"admitted", "denied", "hours", "source", "rate", "descriptors", "proxy", "draining"}[v]
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

// Return counts a client from addr that another gate has admitted before, whatever the limits are.
func (g Gate) Return(addr netip.Addr) (p Pass) {
	for i, s := range g.Sources {
		p[i] = s.count(addr.Unmap())
	}
	return p
}

// Pass is what an admitted client takes. The zero value takes nothing.
type Pass [2]place

// place is one client of a source.
type place struct {
	in  *Sources
	key source
}

// Release ends the client's count. Call it once.
func (p Pass) Release() {
	for _, at := range p {
		if at.in != nil {
			at.in.leave(at.key)
		}
	}
}
