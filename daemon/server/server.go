// Package server accepts clients and runs a session for each. It promises that a client is accepted
// only when there is a place for it, that the surplus waits in the kernel's backlog, that a client
// which was accepted is served to its end or handed to the next process, and that Shutdown and
// Leave return when nothing of a client is left.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/counts"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/tap"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/worker"
)

// ErrServerClosed is what Serve returns after Shutdown, Leave and WaitForStragglers.
var ErrServerClosed = errors.New("server closed")

// Options are what a server is made with.
type Options struct {
	// SinkOf returns what takes the records of a listener's sessions, whenever settings of it
	// are made. Encoder makes what encodes them.
	SinkOf  func(config.Listener) session.Sink
	Encoder func() session.Encoder
	// TLS returns how a listener's clients speak TLS, whenever settings of it are made; nil is
	// for clear text. A nil TLS means that all do without.
	TLS func(config.Listener) *tlsconn.Options
	// Events is which sessions have their opening and their closing recorded.
	Events config.Events
	// Clients is the number of clients that are served at once, until SetLimits.
	Clients int
	Log     *slog.Logger
	// StopGrace is the time between asking a program to end and killing it; 0 means 3 seconds.
	StopGrace time.Duration
	// Accept accepts a connection from a listening socket; nil means accept4(2).
	Accept func(fd int) (int, syscall.Sockaddr, error)
}

// Server accepts clients and runs a session for each. Its methods may be called from any goroutine,
// unless they say otherwise.
type Server struct {
	accept    func(fd int) (int, syscall.Sockaddr, error)
	stopGrace time.Duration
	sinkOf    func(config.Listener) session.Sink
	tlsOf     func(config.Listener) *tlsconn.Options // nil: all speak clear text
	env       session.Env
	keeper    Keeper       // nil: clients end with the process
	events    atomic.Int32 // a config.Events
	own       ownBuffers
	workers   *worker.Pool
	ending    sync.WaitGroup // of workers
	resources
	refusals refusals
	lifecycle
}

// resources are what the clients of all listeners share.
type resources struct {
	slots   *slots // one taken for each client
	sources admission.Sources
	spare   spare
	ownFDs  int // descriptors that are not a client's; 0: not counted. For SetLimits
	prefix  config.SourcePrefix

	reached atomic.Pointer[map[string]*Binding] // that muxes find, by the listener's name; not changed

	named       sync.Mutex                  // guards the maps, by the listener's name
	occupancies map[string]*occupancy       // of listeners that are or were configured
	counts      map[string]*counts.Listener // of these, and of others that clients came through
}

// lifecycle is how far the server is, and who is still there.
type lifecycle struct {
	mu      sync.Mutex
	phase   phase
	loops   map[*acceptor]struct{}
	clients map[*session.Session]*client
	// programsEnded: no more programs are started for clients, and no upstreams connected, by
	// WaitForStragglers.
	programsEnded bool
	leftovers     int // clients that did not finish in time
	awaited       int // how many wait for the ends of certain sessions, and not of all
	// ended signals that an accept loop has ended, or the last session, or one while some are
	// awaited. Its lock is mu.
	ended *sync.Cond
}

// client is a client's life in the server. Once it runs, its goroutine alone changes it; session
// with mu held.
type client struct {
	session *session.Session // that it has now
	binding *Binding
	pass    admission.Pass
}

// peer returns whose rights the client has taken: the proxy's client, where there is a proxy. The
// session has the text of it, so that an idle client has it once.
func (c *client) peer() sockaddr.Peer {
	p, _ := sockaddr.ParsePeer(c.session.Source.Remote) // it is one
	return p
}

// New returns a server that has no listeners yet.
func New(o Options) *Server {
	s := &Server{
		accept:    o.Accept,
		stopGrace: o.StopGrace,
		sinkOf:    o.SinkOf,
		tlsOf:     o.TLS,
		workers:   worker.NewPool(o.Log),
		resources: resources{
			slots: newSlots(o.Clients), occupancies: make(map[string]*occupancy), counts: make(map[string]*counts.Listener),
		},
		lifecycle: lifecycle{loops: make(map[*acceptor]struct{}), clients: make(map[*session.Session]*client)},
	}
	if s.accept == nil {
		s.accept = accept4
	}
	if s.stopGrace == 0 {
		s.stopGrace = 3 * time.Second
	}
	s.ended = sync.NewCond(&s.mu)
	s.SetEvents(o.Events)
	e := &s.env
	e.Log = o.Log
	e.Buffers, e.Spill = session.NewBuffers(o.Encoder), session.NewSpill()
	s.own = ownBuffers{encoder: o.Encoder, all: make(map[session.Sink]*session.Buffers)}
	e.Lines, e.Visits = logging.SessionLines(), &logging.Visits{}
	e.BannerTimeout = 10 * time.Second
	e.Tap = &tap.Tap{}
	e.Admit, e.Move = s.admitProxied, s.move
	return s
}

// Env returns what the server's sessions share. Its fields may be changed until Serve or Resume.
func (s *Server) Env() *session.Env { return &s.env }

// SetKeeper has k keep clients for the next process. It is called before Serve and Resume.
func (s *Server) SetKeeper(k Keeper) { s.keeper = k }

// SetEvents changes which sessions have their opening and their closing recorded, for those to
// come.
func (s *Server) SetEvents(e config.Events) { s.events.Store(int32(e)) }

// Serve accepts clients until the server shuts down or leaves, and then returns ErrServerClosed. It
// returns another error only if the listener is broken. It closes the listener.
func (s *Server) Serve(b *Binding) error {
	a, err := newAcceptor(s, b)
	if err != nil {
		return errors.Join(err, b.Listener.Close())
	}
	if !s.begin(a) {
		return errors.Join(ErrServerClosed, b.Listener.Close())
	}
	s.Reach(b)
	err = a.run()
	_ = b.Listener.Close() // nothing was written
	s.finish(a)
	return err
}

// begin registers an accept loop. It reports whether the server still accepts clients.
func (s *Server) begin(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != accepting {
		return false
	}
	s.loops[a] = struct{}{}
	return true
}

// finish removes an accept loop that has ended.
func (s *Server) finish(a *acceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(a.done)
	delete(s.loops, a)
	s.ended.Broadcast()
}

// run serves a client on a goroutine of its own. The client has a place.
func (s *Server) run(c *client) {
	s.mu.Lock()
	s.clients[c.session] = c
	c.session.Counts.Visits.Add(1)
	c.session.Counts.Clients.Add(1)
	switch s.phase {
	case draining:
		c.session.Enter(session.Draining)
	case over:
		c.session.Enter(session.Over)
	}
	s.mu.Unlock()
	go func() {
		for ss := c.session; ss != nil; { // the client of a mux has two
			ss = ss.Run()
		}
		s.remove(c)
	}()
}

// remove forgets a client whose session has ended.
func (s *Server) remove(c *client) {
	s.mu.Lock()
	delete(s.clients, c.session)
	c.session.Counts.Clients.Add(-1)
	if len(s.clients) == 0 || s.awaited > 0 {
		s.ended.Broadcast()
	}
	s.mu.Unlock()
	c.pass.Release()
	s.releasePlace(c.binding)
}

// Clients returns how many clients are served.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// Places returns how many places are taken: by clients, and by accept loops that are letting one
// in.
func (s *Server) Places() int { return s.slots.inUse() }

// Records returns how many messages were written.
func (s *Server) Records() int64 { return s.env.Records.Load() }

// Refused returns how many clients were refused.
func (s *Server) Refused() int64 { return s.refusals.count() }

// Visits returns how many clients have sent no data.
func (s *Server) Visits() int64 { return s.env.Visits.Count() }

// Capacity returns how many clients may be served at once.
func (s *Server) Capacity() int { return s.slots.capacity() }

// Report logs sums of what has no log line of its own: refused clients, clients that sent no data,
// and log lines that were left out. Each is logged only if that was not done within interval.
func (s *Server) Report(interval time.Duration) {
	s.refusals.report(s.env.Log, interval)
	s.env.Visits.Report(s.env.Log, interval)
	s.env.Lines.Report(s.env.Log, interval)
}

// Ping returns nil once every accept loop has shown that it runs, or ctx's error if one has not by
// then.
func (s *Server) Ping(ctx context.Context) error {
	s.mu.Lock()
	loops := make([]*acceptor, 0, len(s.loops))
	for a := range s.loops {
		loops = append(loops, a)
	}
	s.mu.Unlock()
	for _, a := range loops {
		if err := a.ping(ctx); err != nil {
			return fmt.Errorf("%v: accept loop: %w", a.binding.Listener, err)
		}
	}
	return nil
}

// Refresh has all sessions look at their bounds anew, after Configure has changed them.
func (s *Server) Refresh() {
	// To wake a session takes microseconds: clients come and go meanwhile. Those that come have
	// the new bounds.
	for _, ss := range s.sessions() {
		ss.Refresh()
	}
	s.env.Ring()
}

// sessions returns all sessions that there are now. The lock is held only to copy pointers.
func (s *Server) sessions() []*session.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session.Session, 0, len(s.clients))
	for ss := range s.clients {
		all = append(all, ss)
	}
	return all
}

// EndWorkers returns when the processes that served clients have ended, after Shutdown or Leave has
// begun.
func (s *Server) EndWorkers() { s.ending.Wait() }

// Uses reports whether a session writes to a sink.
func (s *Server) Uses(to session.Sink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ss := range s.clients {
		if ss.Settings.Sink == to {
			return true
		}
	}
	return false
}

// PartialMemory returns how many bytes of unfinished messages are out of the kernel.
func (s *Server) PartialMemory() int64 { return s.env.Spill.Used() }

// Processes returns how many processes serve clients of the model "process", or rest.
func (s *Server) Processes() int { return s.workers.Processes() }
