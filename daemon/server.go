package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/record"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("server closed")

// Server accepts clients and runs a session for each. Its methods may be called from any goroutine.
type Server struct {
	sink          sink
	workspaces    *workspaces
	events        atomic.Bool // opening and closing are records too
	log           *slog.Logger
	bannerTimeout time.Duration
	stopGrace     time.Duration // between telling a program to end and killing it
	bell          bell
	workers       workers
	dismissing    sync.WaitGroup              // of the workers, at the end
	knowledge     func(fd int) (known, error) // of a connection that the process before had: the kernel's, but for tests
	survival      *survival                   // nil: clients end with the process
	slots         *slots                      // one taken for each client
	sources       admission.Sources
	prefix        config.SourcePrefix // of the goroutine of Run
	refusals      refusals
	silent        silent
	lines         *lineLimit // of what clients and their programs have logged
	spare         spare
	ownFDs        int // descriptors that are no client's, counted before there were any; 0: not counted. Of the goroutine that configures
	partials      *partials
	notes         *notes       // of a session's process: what the daemon keeps for it; nil: the session's slot does
	records       atomic.Int64 // messages written
	workless      atomic.Bool  // the last process that was to be started for a client was not
	leftovers     atomic.Int64 // clients that had to be closed

	mu       sync.Mutex
	draining atomic.Bool // sessions are to finish, also those that begin; changed under mu, as is expired
	expired  atomic.Bool // the time for that is over
	stopped  bool        // no more clients are accepted
	loops    map[*acceptor]struct{}
	sessions map[*session]struct{}
	gone     *sync.Cond // signals that a session or an accept loop has ended; its lock is mu
}

// sink is where sessions hand what they have encoded: record.Sink's promises.
type sink interface {
	Gather(lines []byte, by record.Giver) (record.Ticket, error)
	Commit(record.Ticket) error
	CommitNow(record.Ticket) error
}

// newServer returns a server whose sessions write to sink and of which there are clients at most at once.
func newServer(sink sink, encoder func() encoder, events bool, clients int, log *slog.Logger) *Server {
	s := &Server{
		sink:          sink,
		workspaces:    newWorkspaces(encoder),
		log:           log,
		lines:         sessionLines(),
		bannerTimeout: 10 * time.Second,
		knowledge:     knowledge,
		stopGrace:     3 * time.Second,
		slots:         newSlots(clients),
		partials:      newPartials(),
		workers:       workers{start: startWorker},
		loops:         make(map[*acceptor]struct{}),
		sessions:      make(map[*session]struct{}),
	}
	s.events.Store(events)
	s.gone = sync.NewCond(&s.mu)
	return s
}

// Serve accepts clients until Shutdown, and then returns ErrServerClosed; only a broken listener makes it return another
// error. It closes the listener.
func (s *Server) Serve(ln *listener) error {
	a, err := newAcceptor(s, ln)
	if err != nil {
		return errors.Join(err, ln.file.Close())
	}
	if !s.begin(a) {
		return errors.Join(ErrServerClosed, ln.file.Close())
	}
	err = a.run()
	_ = ln.file.Close() // no writes
	s.end(a)
	return err
}

// begin registers an accept loop, unless the server drains.
func (s *Server) begin(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.loops[a] = struct{}{}
	return true
}

func (s *Server) end(a *acceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(a.done)
	delete(s.loops, a)
	s.gone.Broadcast()
}

// start runs a session; a place has been taken for it.
func (s *Server) start(c *session) {
	s.mu.Lock()
	c.finishing.Store(s.draining.Load())
	c.overdue.Store(s.expired.Load())
	s.sessions[c] = struct{}{}
	s.mu.Unlock()
	go c.run()
}

// forget has a session that is over count no more.
func (s *Server) forget(c *session) {
	s.mu.Lock()
	delete(s.sessions, c)
	s.gone.Broadcast()
	s.mu.Unlock()
	c.pass.Release()
	s.releasePlace(c.listener)
}

// Clients is how many are served.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Records is how many messages were written.
func (s *Server) Records() int64 { return s.records.Load() }

// Ping returns nil once every accept loop has shown that it turns, or ctx's error when one has not by then.
func (s *Server) Ping(ctx context.Context) error {
	s.mu.Lock()
	loops := make([]*acceptor, 0, len(s.loops))
	for a := range s.loops {
		loops = append(loops, a)
	}
	s.mu.Unlock()
	for _, a := range loops {
		if err := a.ping(ctx); err != nil {
			return fmt.Errorf("%v: accept loop: %w", a.ln, err)
		}
	}
	return nil
}

// Shutdown accepts no more clients and waits for those that are there to finish, until ctx is done; then it closes them,
// after recording what they have sent. It returns nil when all have finished by themselves, else how many did not; sessions
// that a failing sink holds up go on until that is closed. It may be called several times.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	return s.awaitSessions(ctx)
}

// awaitSessions returns when all have ended, as Shutdown does.
func (s *Server) awaitSessions(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.expire)
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.loops) > 0 || len(s.sessions) > 0 {
		s.gone.Wait()
	}
	if n := s.leftovers.Load(); n > 0 {
		return errors.New(counted(n, "client") + " did not finish in time: closed")
	}
	return nil
}

// nudge makes every session look at its deadlines anew, after a reload has changed them.
func (s *Server) nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		c.model.nudge()
	}
	s.ringBell()
}

// drain ends the accept loops and has the models tell their clients: one that listens learns that it should finish.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return
	}
	s.draining.Store(true)
	s.stopAccepting()
	for c := range s.sessions {
		c.bidFinish()
	}
	s.ringBell()
}

// stopAccepting has the accept loops end. It is called with mu held.
func (s *Server) stopAccepting() {
	if s.stopped {
		return
	}
	s.stopped = true
	s.dismissing.Go(s.workers.close) // it may wait for processes to end
	for a := range s.loops {
		a.stop()
	}
}

// expire ends the sessions.
func (s *Server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expired.Swap(true) {
		return
	}
	for c := range s.sessions {
		s.cutShort(c)
	}
	s.ringBell()
}

// cutShort ends a session, whose time to finish is over. It is called with mu held; who is served by a thread looks when the bell is
// rung.
func (s *Server) cutShort(c *session) {
	if c.overdue.Swap(true) {
		return
	}
	if !c.leaving.Load() {
		s.leftovers.Add(1)
	}
	c.model.expire()
}
