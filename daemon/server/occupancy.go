package server

import (
	"math"
	"sync/atomic"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/counts"
)

// occupancy is what the sockets of one listener share: the places and the counts of its clients.
type occupancy struct {
	slots   *slots
	sources admission.Sources
	rules   atomic.Pointer[admission.Rules]
	counts  *counts.Listener // also of a former listener of the same name
	// draining has new clients refused.
	draining atomic.Bool
}

func (s *Server) newOccupancy(name string) *occupancy {
	return &occupancy{slots: newSlots(math.MaxInt), counts: s.countsOf(name)}
}

// setLimits puts l in force.
func (o *occupancy) setLimits(l config.ListenerLimits, prefix config.SourcePrefix) {
	limit := l.Clients
	if limit == 0 {
		limit = math.MaxInt
	}
	o.slots.resize(limit)
	o.sources.Configure(sourceLimits(l.PerSource, prefix))
}

func sourceLimits(l config.PerSource, prefix config.SourcePrefix) admission.Limits {
	return admission.Limits{
		Clients: l.ClientsPerSource,
		Rate:    admission.Rate{Count: l.RatePerSource.Count, Per: l.RatePerSource.Per},
		IPv4:    prefix.IPv4,
		IPv6:    prefix.IPv6,
	}
}

// SetLimits puts the limits of cfg in force, for all clients together and for those of bindings,
// which have been configured. It is called by one goroutine at a time.
func (s *Server) SetLimits(cfg config.Config, bindings []*Binding) {
	s.slots.resize(s.affordable(cfg))
	s.spare.keep()
	s.env.Spill.Resize(cfg.Limits.Memory)
	s.env.Handshakes.Resize(cfg.Limits.Clients)
	s.prefix = cfg.Limits.SourcePrefix
	s.sources.Configure(sourceLimits(cfg.Limits.PerSource, s.prefix))
	for _, b := range bindings {
		b.occupancy.setLimits(b.Settings().Limits, s.prefix)
	}
}

// takePlace takes a place for a client of b. If there is none it returns the slots that are full.
func (s *Server) takePlace(b *Binding) (full *slots) {
	if !b.occupancy.slots.take() {
		return b.occupancy.slots
	}
	if !s.slots.take() {
		b.occupancy.slots.release()
		return s.slots
	}
	return nil
}

// forcePlace takes a place for a client of b even if there is none.
func (s *Server) forcePlace(b *Binding) {
	s.slots.forceTake()
	b.occupancy.slots.forceTake()
}

// releasePlace gives back the place of a client of b.
func (s *Server) releasePlace(b *Binding) {
	s.slots.release()
	b.occupancy.slots.release()
}
