// Package worker serves clients by processes of their own (model "process"). Each process serves
// one client at a time, and can do nothing but that: it is confined (seccomp(2)), has a limited
// memory, and whatever it does wrong costs no client but its own. The daemon alone writes records
// and holds what is kept for the next daemon; the two speak by the frames of a protocol.
//
// The daemon's side is Pool, the process's side is Main.
package worker

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/daemon/session"
)

// restTimeout is how long a worker without a client is kept.
const restTimeout = 10 * time.Second

// Pool has the workers that serve no client at the moment, and starts others. Its methods may be
// called from any goroutine.
type Pool struct {
	start func() (*worker, error)
	log   *slog.Logger
	alive atomic.Int64 // processes that were started and have not ended

	mu      sync.Mutex
	resting []*worker // the last has rested least
	closed  bool
	failing bool // the last worker that was to be started was not
}

// NewPool returns a pool without workers. log is told when none can be started, and when they can
// again.
func NewPool(log *slog.Logger) *Pool { return &Pool{start: start, log: log} }

// Service returns the service that has a worker serve the session's client. It is a
// session.Settings.Service. The session's Conn is best a conn.Thread, as nobody here waits for it.
func (p *Pool) Service(s *session.Session) (session.Service, error) {
	return &service{pool: p, session: s, accept: toDaemon(s.Settings.MaxMessage)}, nil
}

// Close ends the workers that rest, and returns when they have ended. From now on others end when
// their client has gone.
func (p *Pool) Close() {
	p.mu.Lock()
	resting := p.resting
	p.resting, p.closed = nil, true
	p.mu.Unlock()
	for _, w := range resting {
		w.rest.Stop()
		w.end()
	}
}

// take returns a worker, a new one when none rests.
func (p *Pool) take() (*worker, error) {
	p.mu.Lock()
	last := len(p.resting) - 1
	if last < 0 {
		p.mu.Unlock()
		return p.begin()
	}
	defer p.mu.Unlock()
	w := p.resting[last]
	p.resting = p.resting[:last]
	w.rest.Stop()
	return w, nil
}

// begin starts a worker.
func (p *Pool) begin() (*worker, error) {
	w, err := p.start()
	if err == nil {
		p.alive.Add(1)
		w.pool = p
	}
	return w, err
}

// Processes returns how many processes there are, those that rest included.
func (p *Pool) Processes() int { return int(p.alive.Load()) }

// give takes back a worker whose client has gone, and keeps it for a while, unless it has served
// the most clients that it may.
func (p *Pool) give(w *worker, most int) {
	p.mu.Lock()
	keep := !p.closed && w.clients < most
	if keep {
		w.rest = time.AfterFunc(restTimeout, func() { p.dismiss(w) })
		p.resting = append(p.resting, w)
	}
	p.mu.Unlock()
	if !keep {
		w.end()
	}
}

// dismiss ends a worker that has rested long enough, unless it was taken in that instant.
func (p *Pool) dismiss(w *worker) {
	p.mu.Lock()
	i := slices.Index(p.resting, w)
	if i >= 0 {
		p.resting = slices.Delete(p.resting, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		w.end()
	}
}

// report logs when workers can no longer be started, and when they can again.
func (p *Pool) report(err error) {
	p.mu.Lock()
	changed := p.failing != (err != nil)
	p.failing = err != nil
	p.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		p.log.Error("session processes cannot be started, their clients wait", "err", err)
	default:
		p.log.Info("session processes can be started again")
	}
}
