package server

import (
	"testing"

	"tcpmux/daemon/session"
)

// BenchmarkPlace is what a visit does with the places of its listener and with those of all, by as
// many cores as -cpu says.
func BenchmarkPlace(b *testing.B) {
	s := New(Options{Clients: 1 << 30})
	binding := &Binding{occupancy: s.occupancyOf("default")}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if s.takePlace(binding) == nil {
				s.releasePlace(binding)
			}
		}
	})
}

// BenchmarkRegister is what a visit does with the server's lock held: the list of clients changes
// twice. There are as many clients as a large server has.
func BenchmarkRegister(b *testing.B) {
	s := New(Options{})
	for range 100000 {
		s.clients[&session.Session{}] = nil
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		ss := &session.Session{}
		for pb.Next() {
			s.mu.Lock()
			s.clients[ss] = nil
			s.mu.Unlock()
			s.mu.Lock()
			delete(s.clients, ss)
			s.ended.Broadcast()
			s.mu.Unlock()
		}
	})
}
