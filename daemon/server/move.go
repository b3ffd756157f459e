package server

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// Reach has muxes find the listeners of bindings from now on, which are served. Serve does so too.
// All at once are the cheaper.
func (s *Server) Reach(bindings ...*Binding) {
	found := func(b *Binding) bool { return s.bindingOf(b.Listener.Name) == b }
	if bindings = slices.DeleteFunc(slices.Clone(bindings), found); len(bindings) == 0 {
		return
	}
	s.changeReached(func(all map[string]*Binding) {
		for _, b := range bindings {
			all[b.Listener.Name] = b
		}
	})
}

// Unreach undoes Reach. The clients of the listener are served on.
func (s *Server) Unreach(listener string) {
	s.changeReached(func(all map[string]*Binding) { delete(all, listener) })
}

// changeReached replaces the bindings that muxes find. A client of a mux takes no lock for them.
func (s *Server) changeReached(change func(map[string]*Binding)) {
	s.named.Lock()
	defer s.named.Unlock()
	all := make(map[string]*Binding)
	if before := s.reached.Load(); before != nil {
		maps.Copy(all, *before)
	}
	change(all)
	s.reached.Store(&all)
}

// bindingOf returns the binding at which muxes find a listener; nil if there is none.
func (s *Server) bindingOf(listener string) *Binding {
	all := s.reached.Load()
	if all == nil {
		return nil
	}
	return (*all)[listener]
}

// move gives the connection of ss, a mux's session, to next, as one of the listener that the client
// has named: as session.Env.Move does. The place at the mux and what its admission took are given
// back.
func (s *Server) move(ss, next *session.Session, listener string, size int) (moved bool, refusal string) {
	b := s.bindingOf(listener)
	if b == nil {
		return false, unknown(listener)
	}
	settings := b.Settings()
	s.mu.Lock() // the phase of both sessions changes with it held
	defer s.mu.Unlock()
	c := s.clients[ss]
	if stays, refusal := s.staysLocked(ss, settings); stays {
		return false, refusal
	}
	if verdict := s.transfer(c, b); verdict != admission.Admitted {
		return false, s.refuseMove(c, b, verdict)
	}
	ss.Continue(next, func(c *session.Config) { s.change(c, ss, b, settings, size) })
	s.replaceLocked(c, next, b)
	return true, ""
}

// staysLocked reports whether a session cannot go on at a listener with these settings now: it
// leaves, and the next process sees what the client has said, or no more programs are started. In
// that case the client waits for the next process too, unless it would not outlive this one.
func (s *Server) staysLocked(ss *session.Session, settings *Settings) (stays bool, refusal string) {
	switch {
	case ss.Phase() == session.Leaving:
		return true, ""
	case !s.programsEnded || !settings.ends():
		return false, ""
	case ss.Phase() == session.Serving && ss.Survives():
		return true, ""
	}
	return true, muxRefusal(admission.Draining)
}

// transfer decides on a client that a mux has let in, and that goes over to b, where it takes a
// place and a pass if it is admitted.
func (s *Server) transfer(c *client, b *Binding) admission.Verdict {
	switch {
	case b.occupancy.draining.Load():
		return admission.Draining
	case !b.occupancy.slots.take():
		return admission.Full
	}
	v := s.passOver(c, b)
	if v != admission.Admitted {
		b.occupancy.slots.release()
	}
	return v
}

// passOver has a client pass the gate of b. Most gates are open to all: then nobody has to find out
// who it is.
func (s *Server) passOver(c *client, b *Binding) admission.Verdict {
	if g := s.gate(b, &sockaddr.Peer{}); g.AdmitsAll(c.pass) {
		return admission.Admitted
	}
	return s.passGate(c, b)
}

// passGate is passOver where it depends on the client.
func (s *Server) passGate(c *client, b *Binding) admission.Verdict {
	peer := c.peer()
	g := s.gate(b, &peer)
	return g.Transfer(&c.pass, peer.Source(), time.Now())
}

// refuseMove counts a client of a mux that b does not let in, and returns what it is told.
func (s *Server) refuseMove(c *client, b *Binding, v admission.Verdict) string {
	s.countRefusal(b, v, c.peer())
	return muxRefusal(v)
}

// change has cfg, which is that of ss, be one of a session at b that goes on with the connection. The
// slot has the listener from now on.
func (s *Server) change(cfg *session.Config, ss *session.Session, b *Binding, settings *Settings, size int) {
	cfg.Events = config.Events(s.events.Load())
	cfg.Source.Listener, cfg.Source.Mux = b.Listener.Name, ss.Source.Listener
	cfg.Done, cfg.Reply = session.DoneProxy, session.MuxReply
	c, secured := ss.Conn, ss.SpeaksTLS()
	switch {
	case secured:
		cfg.Done |= session.DoneTLS
	case settings.TLS != nil:
		c = tlsconn.New(c)
	}
	if !settings.Ack.Empty() {
		c.SetNoDelay()
	}
	ss.Slot.SetNamed(state.Named{Size: size, By: settings.muxedBy(cfg.Source.Mux), TLS: secured}, settings.Origin)
	if ss.Keep != nil && !(settings.kept() && !(secured && settings.Model == "process")) {
		ss.Keep.Forsake()
	}
	s.complete(cfg, b, settings, c)
}

// replaceLocked has next be the session of a client, at b, which has let it in.
func (s *Server) replaceLocked(c *client, next *session.Session, b *Binding) {
	delete(s.clients, c.session)
	c.session.Counts.Clients.Add(-1)
	c.binding.occupancy.slots.release()
	c.session, c.binding = next, b
	s.clients[next] = c
	next.Counts.Visits.Add(1)
	next.Counts.Clients.Add(1)
}

// muxedBy returns which of the listener's muxes one is, counted from 1; 0: none of them.
func (s *Settings) muxedBy(mux string) int {
	for i, name := range s.MuxedBy {
		if name == mux {
			return i + 1
		}
	}
	return 0
}

func unknown(listener string) string { return "unknown service " + strconv.Quote(listener) }

// muxRefusal returns what a client of a mux is told that a listener does not let in.
func muxRefusal(v admission.Verdict) string {
	switch v {
	case admission.Draining:
		return "draining"
	case admission.Crowded, admission.Hasty, admission.Full:
		return "too many clients"
	}
	return "not allowed"
}
