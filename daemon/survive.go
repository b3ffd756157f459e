package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
)

// ErrRestart is, as the cause of Run's context, that another process follows: it goes on with the clients of this one.
var ErrRestart = errors.New("restart")

// survival has connections outlive the process: those that have lived a moment lie in a ring, which somebody else holds too, and
// what the kernel does not know of them in a file in memory. Of a nil one, none does.
type survival struct {
	ring    *ring.Ring
	state   *state.File // nil when there is none: then only what the kernel knows is kept
	stored  bool        // the service manager holds it too; false: it is for an upgrade in our own place
	origins *origins
	keep    bool // false: the clients of the process before are served to their end, and no more are added
}

// close lets go of both, which stay while somebody else holds them. No session may be left.
func (v *survival) close() {
	v.ring.Close()
	if v.state != nil {
		_ = v.state.Close() // nothing is written late
	}
}

// past is what a session has of the process before.
type past struct {
	resumed bool // there was one
	greeted bool
	opened  bool
	heard   time.Time // when the client last sent something; zero: just now
	unread  int       // bytes that had arrived by then and are in the socket still
	written int64     // messages before this offset are in the file, or will be
	cut     int64     // and one, or a piece of one, ended there
	counted int64     // messages before this offset are counted
	framing int64     // a framing.Framer's Memory
	pieces  int64     // bytes that are recorded of a message whose acknowledgement is still to come
	suspect bool      // process after process has died over it
	moved   []byte    // the beginning of a message, from the session's offset on
}

// noPast is that of a session that began with this process. It is shared, and nobody changes it.
var noPast past

// add takes note of an accepted connection.
func (v *survival) add(s *session, fd int, cookie uint64) {
	if v == nil || !v.keep || s.settings.launch != nil { // a program lives no longer than we
		return
	}
	s.slot = v.state.Take(cookie)
	s.slot.SetOrigin(s.settings.origin)
	v.ring.Add(&s.entry, fd, s.opened)
}

// retire has a session whose end is recorded leave the ring, and its peer told. What still arrives is nobody's any longer: unread, it
// would break the connection off when the ring lets go of it.
func (v *survival) retire(s *session) {
	if v == nil {
		return
	}
	s.slot.SetClosed()
	if v.ring.Retire(&s.entry) {
		s.model.control(hangUp)
	}
	s.slot.Free()
}

// tendInterval is how often the ring is tended.
func tendInterval(age time.Duration) time.Duration {
	return min(max(age/4, 20*time.Millisecond), time.Second)
}

// tend keeps the ring until ctx is done.
func (v *survival) tend(ctx context.Context, age time.Duration, trouble func(error)) {
	tick := time.NewTicker(tendInterval(age))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			trouble(v.ring.Tend(now))
		}
	}
}

// Leave accepts no more clients, and has those that the ring holds go on with the next process: all that they have sent and that
// is not recorded stays in their sockets. Those that it does not hold are drained as by Shutdown, until ctx is done: Settle sees to
// it that there are none. It returns nil when nobody had to be closed, by Settle neither, else how many. A listener of our own is
// closed, and who waits in its backlog with it.
func (s *Server) Leave(ctx context.Context) error {
	s.endLoops()
	s.part()
	return s.awaitSessions(ctx)
}

// endLoops ends the accept loops, and returns when they have.
func (s *Server) endLoops() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopAccepting()
	for len(s.loops) > 0 {
		s.gone.Wait()
	}
}

// part has each session leave that can, and drains the others.
func (s *Server) part() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.survival.ring.Part(); err != nil {
		s.log.Warn("clients end with the daemon", "err", err)
	}
	s.draining.Store(true)
	for c := range s.sessions {
		if c.leaving.Store(s.survival.ring.Enlisted(&c.entry)); c.leaving.Load() {
			c.model.handOver()
		} else {
			c.bidFinish()
		}
	}
	s.ringBell()
}

// describe says in a few words how things stand; "" when there is nothing to say.
func (v *survival) describe() string {
	if v == nil || !v.keep {
		return ""
	}
	if n := v.ring.Overdue(); n > 0 {
		return fmt.Sprintf("; %d of them would end with the daemon", n)
	}
	return ""
}
