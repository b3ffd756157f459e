package server

import "sync"

// slots are places for clients. Their number may change while they are taken: those that are too
// many are not given out again when their clients leave. It is safe for concurrent use.
type slots struct {
	mu    sync.Mutex
	taken int
	limit int
	freed chan struct{} // holds a token when a place may be free
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, freed: make(chan struct{}, 1)}
}

// take takes a place. It reports whether there was one; if not, wait for freed and try again.
func (s *slots) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.limit {
		return false
	}
	s.taken++
	s.signalLocked() // another accept loop may wait for the next one
	return true
}

// forceTake takes a place even if none is free: a client that is there already is not sent away.
func (s *slots) forceTake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
}

// release gives a place back.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.signalLocked()
}

// resize changes how many places there are.
func (s *slots) resize(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.signalLocked()
}

// capacity returns how many places there are.
func (s *slots) capacity() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

// inUse returns how many places are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// signalLocked leaves a token if a place is free.
func (s *slots) signalLocked() {
	if s.taken >= s.limit {
		return
	}
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
