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

// sourceOf returns the source of a client. The zone of a link-local address is ignored: the bits
// identify it well enough.
func (s *Sources) sourceOf(addr netip.Addr) (key source) {
	bits := s.limits.IPv6
	if addr.Is4() {
		bits = s.limits.IPv4
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
