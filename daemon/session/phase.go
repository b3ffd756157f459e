package session

// Phase is how far the daemon is with a session. It only ever grows.
type Phase int32

const (
	// Serving is the first: the client is served.
	Serving Phase = iota
	// Draining has the client told that nothing more will be sent to it, so that it may finish.
	Draining
	// Leaving has the session go on with the next process: what is not recorded stays in the
	// socket.
	Leaving
	// Over ends the session, after what has arrived is recorded: the time to finish is over.
	Over
)

// Phase returns the session's phase. It may be called from any goroutine.
func (s *Session) Phase() Phase { return Phase(s.phase.Load()) }

// Enter has the session enter a phase, unless it is in that or a later one. It may be called from
// any goroutine. A session with a thread of its own notices when Env.Wakeup is rung.
func (s *Session) Enter(p Phase) {
	for {
		now := s.phase.Load()
		if now >= int32(p) {
			return
		}
		if s.phase.CompareAndSwap(now, int32(p)) {
			break
		}
	}
	s.Refresh()
}

// Refresh has whatever serves the client look at its phase and its bounds anew. It may be called
// from any goroutine, and takes effect as Enter does.
func (s *Session) Refresh() {
	s.mu.Lock()
	service := s.service
	s.mu.Unlock()
	if service == nil { // a stage waits, or will
		s.Conn.Wake()
		return
	}
	service.Changed()
}

// Hurry has a session that is Over or Leaving wait for nobody any more: neither for a client that
// does not take what is sent to it, nor for another process. It may be called from any goroutine,
// and takes effect as Enter does.
func (s *Session) Hurry() {
	s.hurried.Store(true)
	s.Conn.Expire()
	s.Refresh()
}

// Hurried reports whether the session is to wait for nobody: Hurry was called, or it is Over.
func (s *Session) Hurried() bool { return s.hurried.Load() || s.Phase() == Over }
