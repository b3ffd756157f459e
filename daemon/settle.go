package daemon

import (
	"context"
	"time"
)

// settleGrace is how long, once its time is over, who is to finish may take for its end. It is not for a sink that fails.
const settleGrace = 5 * time.Second

// Settle has those finish whom the next process cannot go on with: programs, and clients that the ring has no room for. They have
// until ctx is done, and are ended then. All others are served on meanwhile, and new ones let in, but by listeners that run
// programs, and where the ring is full. It returns when those have ended, or can end no more before Leave, which follows.
func (s *Server) Settle(ctx context.Context) {
	s.stopPrograms()
	staying, err := s.bidFinish()
	if err != nil {
		s.log.Warn("clients end with the daemon", "err", err)
		s.endLoops()
	}
	if len(staying) == 0 {
		return
	}
	s.log.Info("who cannot leave may finish first, the others are served on", "finishing", len(staying))
	over, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.cutAllShort(staying)
		time.AfterFunc(settleGrace, cancel)
	})()
	s.awaitAll(over, staying)
}

// stopPrograms ends the accept loops of listeners that run programs, and returns when they have.
func (s *Server) stopPrograms() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.loops {
		if a.ln.settings.Load().launch == nil {
			continue
		}
		for a.stop(); s.turns(a); {
			s.gone.Wait()
		}
	}
}

// turns says whether an accept loop has not ended. It is called with mu held.
func (s *Server) turns(a *acceptor) bool {
	_, turns := s.loops[a]
	return turns
}

// bidFinish tells those to finish that the ring does not hold, and returns them. An error says why it does not hold all that it should.
func (s *Server) bidFinish() (staying []*session, err error) {
	s.mu.Lock() // who is among the sessions is known to the ring
	defer s.mu.Unlock()
	err = s.survival.ring.EnlistAll()
	for c := range s.sessions {
		if !s.survival.ring.Enlisted(&c.entry) {
			c.bidFinish()
			staying = append(staying, c)
		}
	}
	s.ringBell()
	return staying, err
}

// cutAllShort ends those of the sessions that are still there.
func (s *Server) cutAllShort(those []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range those {
		if s.serves(c) {
			s.cutShort(c)
		}
	}
	s.ringBell()
}

// awaitAll returns when the sessions have ended, or ctx is done.
func (s *Server) awaitAll(ctx context.Context, those []*session) {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gone.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range those {
		for s.serves(c) && ctx.Err() == nil {
			s.gone.Wait()
		}
	}
}

// serves says whether a session has not ended. It is called with mu held.
func (s *Server) serves(c *session) bool {
	_, serves := s.sessions[c]
	return serves
}

// Finishing is how many clients are to finish.
func (s *Server) Finishing() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		if c.finishing.Load() {
			n++
		}
	}
	return n
}
