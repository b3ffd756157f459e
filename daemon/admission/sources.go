package admission

import (
	"net/netip"
	"sync"
	"time"
)

// Limits bound what one source may take. The zero value limits nothing.
type Limits struct {
	// Clients is how many clients a source may have at once; 0 means no limit.
	Clients int
	// Rate is how fast new clients may come.
	Rate Rate
	// IPv4 and IPv6 are how many bits of an address identify its source: 1 to 32 and 1 to 128.
	// Of addresses in 100::/64, which stand for users of this machine, all do.
	IPv4, IPv6 int
}

// Rate allows Count clients at once, and Count more in each Per from then on. A Count of 0 means no
// limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// Sources count what each source takes. Until Configure is called they limit nothing, as nil does.
// Sources are safe for concurrent use.
type Sources struct {
	mu      sync.Mutex
	limits  Limits
	clients map[source]int // only sources that have clients
	paces   paces
}

// source is the prefix that identifies a source: its address, and its length.
type source [17]byte

// Configure replaces the limits. Clients that came while their number was not limited do not count.
func (s *Sources) Configure(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Rate != s.limits.Rate {
		s.paces = newPaces(l.Rate)
	}
	if s.clients == nil {
		s.clients = make(map[source]int)
	}
	s.limits = l
}

// enter decides about a client from addr. The place is zero while the number of clients is not
// limited.
func (s *Sources) enter(addr netip.Addr, now time.Time) (at place, v Verdict) {
	if s == nil {
		return at, Admitted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits.Clients == 0 && s.limits.Rate.Count == 0 {
		return at, Admitted
	}
	key := s.sourceOf(addr)
	if s.limits.Clients > 0 && s.clients[key] >= s.limits.Clients {
		return at, Crowded
	}
	if s.limits.Rate.Count > 0 && !s.paces.step(key, now) {
		return at, Hasty
	}
	if s.limits.Clients == 0 {
		return at, Admitted
	}
	s.clients[key]++
	return place{s, key}, Admitted
}

// replace is enter for a client that has a place with others, which it gives back if it is admitted.
func (s *Sources) replace(at *place, addr netip.Addr, now time.Time) Verdict {
	next, v := s.enter(addr, now)
	if v == Admitted {
		at.leave()
		*at = next
	}
	return v
}

// unlimited reports whether enter admits everybody, with a zero place.
func (s *Sources) unlimited() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	l := s.limits
	s.mu.Unlock()
	return l.Clients == 0 && l.Rate.Count == 0
}

// count takes a place for a client from addr, whatever the limits are.
func (s *Sources) count(addr netip.Addr) (at place) {
	if s == nil {
		return at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits.Clients == 0 {
		return at
	}
	key := s.sourceOf(addr)
	s.clients[key]++
	return place{s, key}
}

func (s *Sources) leave(key source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[key]--; s.clients[key] <= 0 {
		delete(s.clients, key)
	}
}

// users are addresses that stand for the users of this machine, who connect to unix sockets. No
// host has one of them (RFC 6666).
var users = netip.MustParsePrefix("100::/64")

// sourceOf returns the source of a client. The zone of a link-local address is ignored: the bits
// identify it well enough. Each user is a source of its own.
func (s *Sources) sourceOf(addr netip.Addr) (key source) {
	bits := s.limits.IPv6
	switch {
	case addr.Is4():
		bits = s.limits.IPv4
	case users.Contains(addr):
		bits = addr.BitLen()
	}
	prefix, err := addr.Prefix(bits)
	if err != nil { // addr is the zero value: all such clients are one source
		return key
	}
	masked := prefix.Addr().As16()
	copy(key[:], masked[:])
	key[16] = byte(bits)
	if addr.Is4() {
		key[16] |= 0x80 // so that no prefix of IPv6 equals it
	}
	return key
}
