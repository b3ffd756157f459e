// Package observe shows what a forwarder is doing: over HTTP on its control socket and on the
// addresses of [forward], as JSON, as metrics and as health checks. It shows and changes nothing,
// and no reader, however slow or hostile, takes more than a bounded amount of memory or delays a
// delivery.
package observe

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/daemon/control"
	"tcpmux/daemon/metrics/prometheus"
)

// Source is what is shown. Its methods are called concurrently, and do not wait for a server or a
// disk.
type Source interface {
	Status() api.Status
	// Healthy returns why the forwarder needs a person or a restart; nil if it does not.
	Healthy() error
	// Ready returns why records are not being delivered at this moment.
	Ready() error
}

// retryEvery is how long a place that cannot be served waits for the next attempt.
const retryEvery = 5 * time.Second

// endGrace is how long answers that are under way may take at the end.
const endGrace = time.Second

// Server serves a control socket and addresses. Create one with Start.
type Server struct {
	source Source
	log    *slog.Logger
	retry  time.Duration

	mu     sync.Mutex
	socket *place
	places map[string]*place // by their addresses
}

// Start serves source on a unix socket at path, for root, the own user and group adm, and on TCP
// addresses. What cannot be served now is logged and tried again: it keeps no record from being
// delivered. The caller closes the Server.
func Start(source Source, log *slog.Logger, path string, addresses []string) *Server {
	return start(source, log, path, addresses, retryEvery)
}

// start is Start with another pause between attempts.
func start(source Source, log *slog.Logger, path string, addresses []string, retry time.Duration) *Server {
	s := &Server{source: source, log: log, retry: retry, places: map[string]*place{}}
	s.socket = s.serve(path, openSocket, (*control.Server).ServeHandler)
	s.Listen(addresses)
	return s
}

// Listen serves these TCP addresses from now on, and no others. Call it before Close.
func (s *Server) Listen(addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for address, p := range s.places {
		if !slices.Contains(addresses, address) {
			p.end()
			delete(s.places, address)
		}
	}
	for _, address := range addresses {
		if s.places[address] == nil {
			s.places[address] = s.serve(address, openAddress, (*control.Server).ServePublicHandler)
		}
	}
}

// Close ends answers within a second, and removes the socket.
func (s *Server) Close() {
	s.Listen(nil)
	s.socket.end()
}

// place is a socket or an address that is served.
type place struct {
	server *control.Server
	cancel context.CancelFunc
	done   chan struct{}
}

// opener makes a listener. The caller closes it, and then calls remove.
type opener func(ctx context.Context, where string) (ln net.Listener, remove func(), err error)

// serve serves a place until it ends.
func (s *Server) serve(where string, open opener, serve func(*control.Server, net.Listener, http.Handler) error) *place {
	ctx, cancel := context.WithCancel(context.Background())
	p := &place{server: control.New(control.Options{Log: s.log}), cancel: cancel, done: make(chan struct{})}
	log := s.log.With("address", where)
	first := make(chan struct{})
	go func() {
		defer close(p.done)
		ln, remove, err := open(ctx, where)
		if err != nil {
			log.Warn("status is not served, trying again", "err", err)
		}
		close(first)
		for err != nil {
			select {
			case <-time.After(s.retry):
			case <-ctx.Done():
				return
			}
			if ln, remove, err = open(ctx, where); err == nil {
				log.Info("status is served")
			}
		}
		defer remove()
		if err := serve(p.server, ln, s.handler()); err != nil {
			log.Error("status is not served any more", "err", err)
		}
	}()
	<-first
	return p
}

// end ends a place.
func (p *place) end() {
	p.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), endGrace)
	defer cancel()
	_ = p.server.Shutdown(ctx) // what could be written was
	<-p.done
}

func openAddress(ctx context.Context, address string) (net.Listener, func(), error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	return ln, func() {}, err
}

func openSocket(_ context.Context, path string) (net.Listener, func(), error) {
	made, err := control.Listen(path)
	if err != nil {
		return nil, nil, err
	}
	ln, err := net.FileListener(made.File)
	remove := func() {
		_ = made.Remove()     // the next start replaces it
		_ = made.File.Close() // nothing was written
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return ln, remove, nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		control.WriteJSON(w, http.StatusOK, s.source.Status())
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", prometheus.ContentType)
		_, _ = w.Write(Metrics(s.source)) // an error is one of the connection
	})
	mux.HandleFunc("GET /healthz", check(s.source.Healthy))
	mux.HandleFunc("GET /readyz", check(s.source.Ready))
	return control.ErrorsInJSON(mux, "want /v1/status, /metrics, /healthz or /readyz")
}

// check answers 200, or 503 with why not.
func check(f func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := f(); err != nil {
			control.WriteText(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
		control.WriteText(w, http.StatusOK, "ok\n")
	}
}
