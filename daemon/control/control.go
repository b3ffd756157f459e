// Package control serves the control socket and the status address: HTTP and JSON, as
// tcpmux-control(7) documents. It promises that nobody but root and the daemon's own user changes
// anything, that the status address only shows, and that no reader, however slow or hostile, costs
// more than a bounded amount of memory, makes a client of the daemon wait, or ends the daemon.
package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"tcpmux/daemon/control/api"
)

// Daemon is what the control socket shows and changes. Its methods are called concurrently. A
// method with a context returns the context's error when it is done; one without may still hang,
// which costs the request its time limit and nobody else anything.
type Daemon interface {
	Status(ctx context.Context) (api.Status, error)
	// Sessions returns what f selects, sorted and limited as f says.
	Sessions(f api.Filter) api.Sessions
	// Session reports false if there is no session of this name.
	Session(id string) (api.Detail, bool)
	// Kill ends the sessions that f selects by ID, Listener and Source, and returns how many.
	Kill(f api.Filter) int
	// Drain has a listener refuse new clients, or no more. The error is ErrNotFound if there is
	// no such listener.
	Drain(ctx context.Context, listener string, on bool) (api.Drained, error)
	Rotate(ctx context.Context) (api.Rotated, error)
	Reload(ctx context.Context) (api.Reloaded, error)
	// Tail begins to watch the records of the sessions that f selects by ID, Listener and
	// Source.
	Tail(f api.Filter) Subscription
	// Alive returns nil once every accept loop and the sink have proved that they are alive.
	Alive(ctx context.Context) error
	// Metrics writes the text format of Prometheus.
	Metrics(ctx context.Context, w io.Writer) error
}

// Subscription is records as they are written. What its reader is too slow for is dropped, and
// counted in a record of kind api.KindMissed.
type Subscription interface {
	// Next returns the next record, also if ctx is done. It returns the error of ctx if none
	// waits when it is done.
	Next(ctx context.Context) (api.Record, error)
	// Close ends the subscription.
	Close()
}

// Errors of a Daemon that have a status of HTTP.
var (
	// ErrNotFound is for what is not there.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable is for what cannot be done now, as while the daemon leaves.
	ErrUnavailable = errors.New("not possible now")
)

// Options are what a Server needs.
type Options struct {
	// Daemon is what Serve and ServeStatus show. The handlers of other programs need none.
	Daemon Daemon
	Log    *slog.Logger
	// Peer returns who has connected to the control socket; nil asks the kernel (unix(7),
	// SO_PEERCRED).
	Peer func(net.Conn) (Peer, error)
}

// Server serves control sockets and status addresses. Create one with New; its methods are safe for
// concurrent use.
type Server struct {
	opt    Options
	limits limits
	calls  chan struct{} // room for calls of the Daemon that are under way
	tails  chan struct{} // room for tails
	// Room for tails that encode records at this moment.
	encoding chan struct{}
	lists    [classes]chan struct{}

	// Left is done when tails are to end.
	left  context.Context
	leave context.CancelFunc

	mu      sync.Mutex
	ended   bool
	servers []*http.Server
}

// New returns a server that serves nothing yet.
func New(opt Options) *Server { return newServer(opt, func(*limits) {}) }

// newServer is New with limits that adjust has changed.
func newServer(opt Options, adjust func(*limits)) *Server {
	if opt.Peer == nil {
		opt.Peer = peerOf
	}
	s := &Server{opt: opt, limits: defaultLimits}
	adjust(&s.limits)
	s.calls = make(chan struct{}, s.limits.calls)
	s.tails = make(chan struct{}, s.limits.tails)
	s.encoding = make(chan struct{}, s.limits.encoding)
	for i := range s.lists {
		s.lists[i] = make(chan struct{}, s.limits.lists)
	}
	s.left, s.leave = context.WithCancel(context.Background())
	return s
}

// Serve serves everything on the unix socket ln, until Shutdown or Close, which close ln. It
// returns nil then, and else why it ended.
func (s *Server) Serve(ln net.Listener) error { return s.ServeHandler(ln, s.full()) }

// ServeStatus serves what can be read by anybody on the TCP listener ln, as Serve does.
func (s *Server) ServeStatus(ln net.Listener) error { return s.ServePublicHandler(ln, s.public()) }

// ServeHandler serves h, for a program that is no Daemon, on the unix socket ln, as Serve does and
// with the same limits.
func (s *Server) ServeHandler(ln net.Listener, h http.Handler) error {
	srv := s.server(h)
	srv.ConnContext = s.identify
	return s.serve(srv, limit(ln, s.limits.connections, s.limits, s.welcome))
}

// ServePublicHandler serves h on the TCP listener ln, as ServeStatus does: with the same limits,
// and only for requests that name the machine's address.
func (s *Server) ServePublicHandler(ln net.Listener, h http.Handler) error {
	srv := s.server(rebindingGuard(h))
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, &connection{conn: c.(*limitedConn), class: public})
	}
	return s.serve(srv, limit(ln, s.limits.statusConnections, s.limits, nil))
}

// server returns an HTTP server with the limits that hold for every request.
func (s *Server) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:                      s.guard(h),
		ReadHeaderTimeout:            s.limits.header,
		ReadTimeout:                  s.limits.body,
		WriteTimeout:                 s.limits.write,
		IdleTimeout:                  s.limits.idle,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(boundedHandler{s.opt.Log.Handler()}, slog.LevelDebug),
	}
}

func (s *Server) serve(srv *http.Server, ln net.Listener) error {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return ln.Close()
	}
	s.servers = append(s.servers, srv)
	s.mu.Unlock()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown closes the listeners and the connections without a request, ends tails with a record of
// kind api.KindRestart, and waits for requests under way until ctx is done; then it closes their
// connections too and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.leave()
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for _, srv := range s.end() {
		wg.Go(func() {
			err := srv.Shutdown(ctx)
			if err != nil {
				_ = srv.Close() // what could be written was
			}
			select {
			case errs <- err:
			default:
			}
		})
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// Close closes everything at once.
func (s *Server) Close() error {
	ctx, cancel := context.WithDeadline(context.Background(), time.Time{})
	defer cancel()
	_ = s.Shutdown(ctx) // that of ctx, which is over
	return nil
}

// end forbids new listeners and returns the servers of those that there are.
func (s *Server) end() []*http.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.servers
}
