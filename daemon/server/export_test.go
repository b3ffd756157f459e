package server

// Times between failed calls of accept.
const (
	AcceptRetryMin = acceptRetryMin
	AcceptRetryMax = acceptRetryMax
)

// SparedDescriptors are kept for what is not a client.
const SparedDescriptors = sparedDescriptors

// HoldsSpare reports whether the spare descriptor is open. While it is lent only a call of accept
// may ask.
func (s *Server) HoldsSpare() bool { return s.spare.file != nil }

// Shed refuses the clients that wait at b.
func (s *Server) Shed(b *Binding) error {
	a, err := newAcceptor(s, b)
	if err != nil {
		return err
	}
	a.shed()
	return nil
}

// Over reports whether the time to finish is over.
func (s *Server) Over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == over
}

// ServePinged is Serve of a loop that was pinged and told to end in the same instant, and whose
// wake-up for both was used up. It sends the ping's answer before it returns.
func (s *Server) ServePinged(b *Binding, answered chan struct{}) error {
	a, err := newAcceptor(s, b)
	if err != nil || !s.begin(a) {
		return err
	}
	a.pings <- answered
	close(a.quit)
	defer s.finish(a)
	return a.run()
}

// OrderBy gives sessions another key to sort by, which calls f for each comparison, until the
// returned function is called.
func OrderBy(key string, f func()) (forget func()) {
	orders[key] = func(*chosen, *chosen) int { f(); return 0 }
	return func() { delete(orders, key) }
}
