package server

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// Keeper keeps clients for the next process. Its methods may be called from any goroutine.
type Keeper interface {
	// Keep takes note of an accepted connection. The descriptor stays open until Retire of what
	// it returns, which is nil when the connection is not kept. The next process knows its
	// settings by origin.
	Keep(fd int, cookie uint64, opened time.Time, origin uint32) (*state.Slot, session.Keep)
	// EnlistAll has all connections survive from now on, also young ones. The error says why
	// some do not.
	EnlistAll() error
	// Seal is EnlistAll for the last time: what survives by then does, and no more is kept.
	Seal() error
}

// Leave accepts no more clients, and has those that the keeper keeps go on with the next process:
// all that they have sent and that is not recorded stays in their sockets. All others are drained
// as by Shutdown, until ctx is done; after WaitForStragglers there are no such clients. It returns
// nil when no client had to be closed, also by WaitForStragglers, else an error that says how many.
// A listener that this process has bound is closed, with the connections in its backlog.
func (s *Server) Leave(ctx context.Context) error {
	s.endLoops()
	s.leave()
	return s.awaitAll(ctx)
}

// endLoops ends the accept loops, and returns when they have.
func (s *Server) endLoops() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanceLocked(closing)
	for len(s.loops) > 0 {
		s.ended.Wait()
	}
}

// leave has each session leave that can, and drains the others. It lets go of the lock now and
// then: a session that has left needs it too.
func (s *Server) leave() {
	for some := range slices.Chunk(s.seal(), 64) {
		s.tellToLeave(some)
	}
	s.env.Ring()
}

// seal has the keeper keep what it keeps, and returns all sessions.
func (s *Server) seal() []*session.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeper != nil {
		if err := s.keeper.Seal(); err != nil {
			s.env.Log.Warn("clients end with the daemon", "err", err)
		}
	}
	s.advanceLocked(draining)
	return slices.Collect(maps.Keys(s.clients))
}

// tellToLeave has those of the sessions leave or drain that have not ended.
func (s *Server) tellToLeave(sessions []*session.Session) {
	s.mu.Lock() // the phase of a session changes with it held
	defer s.mu.Unlock()
	for _, ss := range sessions {
		switch ss = ss.Last(); {
		case !s.servesLocked(ss):
		case ss.Survives():
			ss.Enter(session.Leaving)
		default:
			ss.Enter(session.Draining)
		}
	}
}

// Resumed is a connection of the previous process.
type Resumed struct {
	// Binding is the listener that the client came through, or what Retired returns.
	Binding *Binding
	// Settings are those that the client began with.
	Settings *Settings
	// Events is whether the closing of the session is recorded, and its opening if that is not
	// yet.
	Events config.Events
	// FD is the server's from Resume on.
	FD int
	// Client is whose rights the connection has taken: the proxy's client, where there is a
	// proxy.
	Client sockaddr.Peer
	// TLS is the connection's, of which the kernel has the keys; nil if it is in clear text, or
	// yet to make its handshake.
	TLS *tlsconn.Left
	// Config has all but what the server fills in: Env, Settings, Bounds, Conn and Events.
	Config session.Config
}

// Resume goes on with a connection of the previous process. It takes a place and counts, whatever
// the limits are. After an error the descriptor is closed.
func (s *Server) Resume(r Resumed) error {
	c, err := s.connect(r.Settings, r.FD, r.Config.Resume != nil, r.TLS != nil)
	if err != nil {
		return err
	}
	s.forcePlace(r.Binding)
	var pass admission.Pass
	// Else a stage is still to decide on the client.
	if r.Config.Staged || r.Config.Done&session.DoneProxy != 0 || !r.Settings.proxied() {
		g := s.gate(r.Binding, &r.Client)
		pass = g.Return(r.Client.Source())
	}
	r.Config.Events = r.Events
	s.complete(&r.Config, r.Binding, r.Settings, layered(r.Settings, &r.Config, c, r.TLS))
	ss := session.New(r.Config)
	if r.TLS != nil {
		ss.SetTLS(tlsconn.Info{TLS: r.TLS.Describe(), Kernel: true, Kept: true})
	}
	s.run(&client{session: ss, binding: r.Binding, pass: pass})
	return nil
}

// Retired returns a binding for clients that are left of a listener which is configured no longer,
// and had the address local. No more come through it. It is called by the goroutine that calls
// SetLimits.
func (s *Server) Retired(settings *Settings, local sockaddr.Local) *Binding {
	b := &Binding{
		Listener:  &listen.Listener{Name: settings.Name, Addr: local},
		occupancy: s.newOccupancy(settings.Name),
	}
	b.settings.Store(settings)
	b.bounds.Store(session.BoundsOf(settings.Listener))
	b.occupancy.setLimits(settings.Limits, s.prefix)
	b.SetRules(formerRules(settings))
	s.env.Log.Info("clients of a listener that is configured no longer are served on",
		"listener", settings.Name, "address", local.String())
	return b
}

// formerRules returns the rules of a listener that is configured no longer. Its rules file is not
// read any more: if it had one, nobody is let in.
func formerRules(settings *Settings) *admission.Rules {
	p := settings.Limits.Policy
	if p.Rules == "" {
		return admission.NewRules(p.Allow, p.Deny)
	}
	return admission.NewRules(nil, []netip.Prefix{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	})
}
