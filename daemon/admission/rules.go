package admission

import (
	"net/netip"
	"slices"
)

// Rules say by address who may come in: the longest prefix that holds an address decides. Whom none holds may come in when none
// allows anybody. They are not changed once made. nil lets everybody in.
type Rules struct {
	allows    map[netip.Prefix]bool
	bits      [2][]int // the lengths that prefixes of IPv4 and IPv6 have, the longest first
	otherwise bool
}

// NewRules makes rules of masked prefixes; one that is in both is denied.
func NewRules(allow, deny []netip.Prefix) *Rules {
	if len(allow)+len(deny) == 0 {
		return nil
	}
	r := &Rules{allows: make(map[netip.Prefix]bool, len(allow)+len(deny)), otherwise: len(allow) == 0}
	for _, p := range allow {
		r.add(p, true)
	}
	for _, p := range deny {
		r.add(p, false)
	}
	return r
}

func (r *Rules) add(p netip.Prefix, allow bool) {
	r.allows[p] = allow
	bits := &r.bits[family(p.Addr())]
	if i, found := slices.BinarySearchFunc(*bits, p.Bits(), func(a, b int) int { return b - a }); !found {
		*bits = slices.Insert(*bits, i, p.Bits())
	}
}

// Admit says whether a client from addr may come in. IPv4 within IPv6 must have been unwrapped.
func (r *Rules) Admit(addr netip.Addr) bool {
	if r == nil {
		return true
	}
	for _, bits := range r.bits[family(addr)] {
		p, err := addr.Prefix(bits)
		if err != nil {
			return false // no address at all
		}
		if allow, named := r.allows[p]; named {
			return allow
		}
	}
	return r.otherwise
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}
