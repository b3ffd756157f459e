package daemon

import "sync"

// slots are the places for clients. Their number may change while they are taken: those that are too many are given back
// when their clients leave. Safe for concurrent use.
type slots struct {
	mu    sync.Mutex
	taken int
	limit int
	freed chan struct{} // holds a token when a place may be free: whoever takes it tries, and passes it on if it is not the only one
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, freed: make(chan struct{}, 1)}
}

// take takes a place, or says that there is none. Wait for freed then, and try again.
func (s *slots) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.limit {
		return false
	}
	s.taken++
	s.tell() // another accept loop may wait for the next one
	return true
}

// seat takes a place though there may be none: whoever is there already is not sent away.
func (s *slots) seat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
}

// release gives a place back.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.tell()
}

// resize changes how many places there are.
func (s *slots) resize(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.tell()
}

// most is how many places there are.
func (s *slots) most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

// tell leaves a token when there is a free place. It is called with mu held.
func (s *slots) tell() {
	if s.taken >= s.limit {
		return
	}
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
