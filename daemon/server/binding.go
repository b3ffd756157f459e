package server

import (
	"sync/atomic"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/builtin"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/processors"
	"tcpmux/daemon/program"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
)

// Binding is a socket together with what its clients are served by: their settings, their bounds
// and their places. The sockets of one listener share the places. Its methods may be called from
// any goroutine.
type Binding struct {
	// Listener is the socket. A binding for clients that are left of a former listener has one
	// that is a name and an address only.
	Listener *listen.Listener

	occupancy *occupancy
	settings  atomic.Pointer[Settings]
	bounds    atomic.Pointer[session.Bounds] // also those of clients with former settings
}

// Settings are those of a listener's clients, with what decides on a connection before there is a
// session. They are replaced whole and never changed.
type Settings struct {
	session.Settings
	hours   admission.Hours
	proxies *admission.Rules // which proxies may speak for others
}

// Bind pairs a socket with the settings of its clients. Their limits are in force from the next
// SetLimits on, and everybody is let in until SetRules. It is called by one goroutine at a time.
func (s *Server) Bind(ln *listen.Listener, c config.Listener) *Binding {
	b := &Binding{Listener: ln, occupancy: s.occupancyOf(ln.Name)}
	s.Configure(b, c, 0)
	return b
}

// Configure changes the settings of clients to come, and the bounds of all, which look at them
// after Refresh. The next process knows the settings by origin; 0 means that it does not.
func (s *Server) Configure(b *Binding, c config.Listener, origin uint32) {
	b.settings.Store(s.NewSettings(c, origin))
	b.bounds.Store(session.BoundsOf(c))
}

// NewSettings returns the settings that c asks for, as Configure stores them.
func (s *Server) NewSettings(c config.Listener, origin uint32) *Settings {
	if c.Muxes() {
		c.Model = "goroutine" // whatever is inherited
	}
	set := &Settings{
		Settings: *session.NewSettings(c, origin),
		hours:    hoursOf(c.Limits.AccessTimes),
		proxies:  admission.NewRules(c.ProxyProtocol, nil),
	}
	if set.Sink = s.sinkOf(c); c.File != "" {
		set.Buffers = s.own.of(set.Sink)
	}
	if set.proxied() {
		set.Stages = append(set.Stages, session.ProxyStage{})
	}
	if s.tlsOf != nil {
		set.TLS = s.tlsOf(c)
	}
	if set.TLS != nil {
		set.Stages = append(set.Stages, session.TLSStage{})
	}
	if set.Muxes() {
		set.Stages = append(set.Stages, &session.MuxStage{})
	}
	switch {
	case set.runsProgram():
		set.Service = s.programService(program.NewSpec(c), c.Record)
	case set.BuiltIn():
		set.Service, set.Threaded = builtin.New, c.Model == "thread"
	case set.Proxies():
		set.Service, set.Threaded = proxyService(c), c.Model == "thread"
	case c.Model == "process":
		set.Service = s.workers.Service
	case c.Model == "thread":
		set.Threaded = true
	}
	if set.Threaded || set.runsProgram() || c.Model == "process" {
		processors.UseAll() // they block threads
	}
	return set
}

// programService returns what makes the service of a session that a program serves. A client of the
// previous process is only recorded: no program begins in the middle of a stream.
func (s *Server) programService(spec *program.Spec, record bool) func(*session.Session) (session.Service, error) {
	return func(ss *session.Session) (session.Service, error) {
		switch {
		case ss.Resumed():
			return session.NewRecorder(ss), nil
		case record:
			return program.NewRecordedService(ss, spec, s.stopGrace), nil
		}
		return program.NewService(ss, spec, s.stopGrace), nil
	}
}

// hoursOf returns when a listener lets clients in.
func hoursOf(list []config.Window) (h admission.Hours) {
	for _, w := range list {
		h = append(h, admission.Window{Days: w.Days, From: w.From, To: w.To})
	}
	return h
}

// runsProgram reports whether a program serves the listener's clients.
func (s *Settings) runsProgram() bool { return len(s.Exec) > 0 }

// proxied reports whether the listener's clients come through proxies.
func (s *Settings) proxied() bool { return len(s.ProxyProtocol) > 0 }

// kept reports whether the next process is to know of the listener's clients: they outlive this
// one, or their end is recorded. A program lives no longer, and a process that serves a client has
// what this one has decrypted.
func (s *Settings) kept() bool { return !s.runsProgram() && (s.Model != "process" || s.TLS == nil) }

// trusts reports whether a proxy may say which client it speaks for. Who may connect to a unix
// socket is for its mode to say.
func (s *Settings) trusts(peer sockaddr.Peer) bool {
	return peer.Unix || s.proxies.Admit(peer.Addr.Addr())
}

// Settings returns those of clients to come.
func (b *Binding) Settings() *Settings { return b.settings.Load() }

// SetRules changes which addresses the listener lets in, at all of its sockets.
func (b *Binding) SetRules(r *admission.Rules) { b.occupancy.rules.Store(r) }
