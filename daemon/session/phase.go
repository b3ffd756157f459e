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

// String returns the word that status and console show.
func (p Phase) String() string { return [...]string{"serving", "draining", "leaving", "over"}[p] }

// killedBit is set in Session.phase with Over when the session is killed.
const killedBit = 1 << 8

// Phase returns the session's phase. It may be called from any goroutine.
func (s *Session) Phase() Phase { return Phase(s.phase.Load() &^ killedBit) }

// Enter has the session enter a phase, unless it is in that or a later one. It may be called from
// any goroutine. A session with a thread of its own notices when Env.Wakeup is rung.
func (s *Session) Enter(p Phase) {
	for {
		now := s.phase.Load()
		if now&^killedBit >= int32(p) {
			return
		}
		if s.phase.CompareAndSwap(now, int32(p)) {
			break
		}
	}
	s.Refresh()
}

// Kill has the session enter the phase Over, because an administrator ends it: what has arrived is
// recorded, and the reason is ByKill. The next process does not go on with it, even if this one
// dies before the end is recorded. Kill reports false if the session leaves, has ended, or is Over
// for another reason. It may be called from any goroutine, and takes effect as Enter does.
func (s *Session) Kill() bool {
	for {
		switch now := s.phase.Load(); {
		case now&killedBit != 0:
			return true
		case now >= int32(Leaving):
			return false
		case s.phase.CompareAndSwap(now, int32(Over)|killedBit):
			return s.noteKilled()
		}
	}
}

// noteKilled has the next process and the service know that the session is killed. It returns false
// if the session has ended.
func (s *Session) noteKilled() bool {
	s.mu.Lock()
	retired, next := s.retired, s.next
	if !retired && next == nil {
		s.Slot.SetKilled()
	}
	s.mu.Unlock()
	if next != nil {
		return next.Kill() && next.noteKilled() // it may have begun as killed
	}
	if !retired {
		s.Refresh()
	}
	return !retired
}

// killed reports whether the session was killed.
func (s *Session) killed() bool { return s.phase.Load()&killedBit != 0 }

// asKilled returns the reason of the session's end: ByKill in place of those that a session has
// which is Over, if it was killed.
func (s *Session) asKilled(why Reason) Reason {
	switch why {
	case ByDrain, ByBanner, ByAck:
		if s.killed() {
			return ByKill
		}
	}
	return why
}

// Refresh has whatever serves the client look at its phase and its bounds anew. It may be called
// from any goroutine, and takes effect as Enter does.
func (s *Session) Refresh() {
	s.mu.Lock()
	service, next := s.service, s.next
	s.mu.Unlock()
	if next != nil {
		next.follow(s)
		return
	}
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
	s.Conn.Expire() // also that of a session that has followed
	s.Refresh()
}

// Hurried reports whether the session is to wait for nobody: Hurry was called, or it is Over.
func (s *Session) Hurried() bool { return s.hurried.Load() || s.Phase() == Over }
