package admission

import (
	"net/netip"
	"slices"
)

// Rules decide by address: the longest prefix that contains an address decides. An address that no
// prefix contains is allowed if there are no prefixes to allow. Rules do not change once they are
// made. nil allows every address.
type Rules struct {
	allows    map[netip.Prefix]bool
	bits      [2][]int // the lengths of prefixes, for IPv4 and IPv6, the longest first
	otherwise bool
}

// NewRules returns rules from masked prefixes. A prefix that is in both lists is denied.
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

// Admit reports whether clients from addr are admitted. addr must not be IPv4-mapped.
func (r *Rules) Admit(addr netip.Addr) bool {
	if r == nil {
		return true
	}
	for _, bits := range r.bits[family(addr)] {
		p, err := addr.Prefix(bits)
		if err != nil {
			return false // addr is the zero value
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
