package server

import (
	"context"
	"time"

	"tcpmux/daemon/session"
)

// stragglerGrace is how long stragglers may take to end once their time to finish is over. A sink
// that fails does not let them.
const stragglerGrace = 5 * time.Second

// WaitForStragglers waits for the clients that the next process cannot go on with: those of
// programs, those of upstreams where the daemon encrypts, and those that the keeper has no room
// for. They are told to finish, have until ctx is done, and are ended then. All others are served
// on meanwhile, and new ones accepted, but by listeners that run programs, and if the keeper has no
// room. It returns when the stragglers have ended, or cannot end before Leave, which follows.
func (s *Server) WaitForStragglers(ctx context.Context) {
	s.endPrograms()
	stragglers, err := s.drainStragglers()
	if err != nil {
		s.env.Log.Warn("clients end with the daemon", "err", err)
		s.endLoops()
	}
	if len(stragglers) == 0 {
		return
	}
	s.env.Log.Info("who cannot leave may finish first, the others are served on", "finishing", len(stragglers))
	graced, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.cutShort(stragglers)
		time.AfterFunc(stragglerGrace, cancel)
	})()
	s.await(graced, stragglers)
}

// endPrograms ends the accept loops of listeners that run programs, or are proxies, and returns
// when they have. Muxes start no more programs either.
func (s *Server) endPrograms() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.programsEnded = true
	for a := range s.loops {
		if !a.binding.Settings().ends() {
			continue
		}
		for a.stop(); s.loopsLocked(a); {
			s.ended.Wait()
		}
	}
}

// loopsLocked reports whether an accept loop has not ended.
func (s *Server) loopsLocked(a *acceptor) bool {
	_, found := s.loops[a]
	return found
}

// drainStragglers tells the clients that would end with this process to finish, and returns their
// sessions. An error says why the keeper does not keep all that it should.
func (s *Server) drainStragglers() (stragglers []*session.Session, err error) {
	s.mu.Lock() // the keeper knows all of the sessions
	defer s.mu.Unlock()
	if s.keeper != nil {
		err = s.keeper.EnlistAll()
	}
	for ss := range s.clients {
		if !ss.Survives() {
			ss.Enter(session.Draining)
			stragglers = append(stragglers, ss)
		}
	}
	s.env.Ring()
	return stragglers, err
}

// cutShort ends the sessions that are still there.
func (s *Server) cutShort(sessions []*session.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ss := range sessions {
		if ss = ss.Last(); s.servesLocked(ss) {
			s.cutShortLocked(ss)
		}
	}
	s.env.Ring()
}

// await returns when the sessions have ended or ctx is done.
func (s *Server) await(ctx context.Context, sessions []*session.Session) {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaited++
	defer func() { s.awaited-- }()
	for _, ss := range sessions {
		for s.servesLocked(ss.Last()) && ctx.Err() == nil {
			s.ended.Wait()
		}
	}
}

// servesLocked reports whether a session has not ended.
func (s *Server) servesLocked(ss *session.Session) bool {
	_, found := s.clients[ss]
	return found
}

// Finishing returns how many clients were told to finish.
func (s *Server) Finishing() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ss := range s.clients {
		if p := ss.Phase(); p == session.Draining || p == session.Over {
			n++
		}
	}
	return n
}
