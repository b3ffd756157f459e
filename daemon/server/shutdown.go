package server

import (
	"context"
	"errors"
	"fmt"

	"tcpmux/daemon/session"
)

// phase is how far the server is. It only ever grows.
type phase int

const (
	accepting phase = iota // clients are accepted and served
	closing                // no more are accepted; those that are there are served
	draining               // they are told to finish
	over                   // the time for that is over
)

// advanceLocked enters a phase, and ends the accept loops if that is the first after accepting. It
// reports false if the server is in that or a later phase already.
func (s *Server) advanceLocked(to phase) bool {
	if s.phase >= to {
		return false
	}
	if s.phase == accepting {
		s.ending.Go(s.workers.Close) // it may wait for processes to end
		for a := range s.loops {
			a.stop()
		}
	}
	s.phase = to
	return true
}

// Shutdown accepts no more clients and waits for those that are there to finish, until ctx is done;
// then it closes them, after what they have sent is recorded. It returns nil when all have finished
// by themselves, else an error that says how many did not; sessions that wait for a failing sink go
// on until that is closed. It may be called several times, also after WaitForStragglers.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	return s.awaitAll(ctx)
}

// Draining reports whether Shutdown or Leave has told clients to finish.
func (s *Server) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase >= draining
}

// drain ends the accept loops and tells all clients to finish.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.advanceLocked(draining) {
		return
	}
	for ss := range s.clients {
		ss.Enter(session.Draining)
	}
	s.env.Ring()
}

// expire ends all sessions.
func (s *Server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.advanceLocked(over) {
		return
	}
	for ss := range s.clients {
		s.cutShortLocked(ss)
	}
	s.env.Ring()
}

// cutShortLocked ends a session whose time to finish is over. One that leaves is ended by that;
// it only waits for nobody any more.
func (s *Server) cutShortLocked(ss *session.Session) {
	switch ss.Phase() {
	case session.Over:
	case session.Leaving:
		ss.Hurry()
	default:
		s.leftovers++
		ss.Enter(session.Over)
	}
}

// awaitAll returns when all accept loops and sessions have ended, as Shutdown does.
func (s *Server) awaitAll(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.expire)
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.loops) > 0 || len(s.clients) > 0 {
		s.ended.Wait()
	}
	switch s.leftovers {
	case 0:
		return nil
	case 1:
		return errors.New("1 client did not finish in time: closed")
	}
	return fmt.Errorf("%d clients did not finish in time: closed", s.leftovers)
}
