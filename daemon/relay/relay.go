// Package relay is the service of a proxy: it connects a client with an upstream, and carries what
// each of them sends to the other. The end of a stream is carried as such, and so is a reset. A
// side that does not read makes the other one wait: nothing piles up here.
package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/upstream"
)

// Service connects one client with an upstream.
type Service struct {
	s        *session.Session
	dialer   *upstream.Dialer
	recorder *session.Recorder // nil: nothing is recorded

	mu   sync.Mutex
	stop context.CancelFunc // ends what is under way before there is a pair; nil: nothing is
	pair *pair              // nil: the client is not connected yet
}

// New returns the service of a session whose upstream dialer connects. If the listener records,
// what the client sends is recorded before the upstream has it.
func New(s *session.Session, dialer *upstream.Dialer) *Service {
	r := &Service{s: s, dialer: dialer}
	if s.Settings.Record {
		r.recorder = session.NewRecorder(s)
	}
	return r
}

// Serve implements session.Service.
func (r *Service) Serve() (session.Reason, error) {
	if left := r.s.Upstream; left != nil {
		return r.goOn(left)
	}
	if why, err := r.begin(); why != "" {
		return why, err
	}
	r.s.Await(session.ForUpstream)
	up, err := r.dial()
	if err != nil {
		return r.unconnected(err)
	}
	if r.s.Phase() == session.Leaving { // nothing was taken: the next process connects it
		up.Close()
		return session.ByLeave, nil
	}
	r.s.SetUpstream(up.Address)
	r.s.Await(session.ForClient)
	return r.join(newPair(r.s, up))
}

// goOn serves a client that the previous process has connected with an upstream.
func (r *Service) goOn(left *session.Upstream) (session.Reason, error) {
	p := resumePair(r.s, left)
	r.s.SetUpstream(left.Address)
	if err := r.s.Open(); err != nil {
		p.finish()
		left.Conn.Close()
		return session.BySink, err
	}
	return r.join(p)
}

// begin greets the client and records that the session begins.
func (r *Service) begin() (session.Reason, error) {
	if r.recorder != nil {
		return r.recorder.Begin(r.recorder.Greet())
	}
	err := session.NewRecorder(r.s).Greet()
	if oerr := r.s.Open(); oerr != nil {
		return session.BySink, oerr
	}
	if err != nil {
		return session.ReasonOf(err, session.ByBanner), err
	}
	return "", nil
}

// dial connects with an upstream, until the session leaves or is over, or has no more time.
func (r *Service) dial() (upstream.Conn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if most := r.s.Bounds.Load().Session; most > 0 {
		var late context.CancelFunc
		ctx, late = context.WithDeadline(ctx, r.s.Opened.Add(most))
		defer late()
	}
	r.mu.Lock()
	r.stop = cancel
	r.mu.Unlock()
	r.Changed() // the session may have been over before
	began := time.Now()
	up, err := r.dialer.Dial(ctx, r.ends())
	end, bounded := ctx.Deadline()
	switch {
	case err == nil:
		r.s.Counts.ConnectDone(time.Since(began))
	case bounded && !time.Now().Before(end): // the last attempt may have ended a moment before ctx
		err = context.DeadlineExceeded
	}
	return up, err
}

// ends returns the ends of the client's connection.
func (r *Service) ends() upstream.Ends {
	client, _ := sockaddr.ParsePeer(r.s.Source.Remote) // else it is not known
	return upstream.Ends{
		Client: client.Addr, Server: r.s.Conn.LocalAddr().AddrPort,
		Peer: r.s.Peer().Addr, Listener: r.s.Settings.Name,
	}
}

// unconnected ends a session that has no upstream. What the client has sent is taken, or the close
// would be a reset, and the client could lose its greeting. A session that leaves does not end: the
// next process connects its client.
func (r *Service) unconnected(err error) (session.Reason, error) {
	failed, ok := errors.AsType[*upstream.Error](err)
	if !ok && r.s.Phase() == session.Leaving && !r.s.Hurried() {
		return session.ByLeave, nil
	}
	r.s.Conn.HangUp()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return session.ByAge, nil
	case !ok: // it was given up
		return session.ByDrain, nil
	}
	r.s.SetUpstream(failed.To)
	r.s.Counts.ConnectFailed(string(failed.Kind))
	return reasonOf(failed.Kind), err
}

func reasonOf(k upstream.Kind) session.Reason {
	why := session.Reason("upstream-" + string(k))
	if !why.OfUpstream() {
		return session.ByUpstream
	}
	return why
}

// join serves a client that is connected with an upstream, and closes that connection. Both
// connections may be older than this process.
func (r *Service) join(p *pair) (session.Reason, error) {
	defer p.server.Close()
	r.mu.Lock()
	r.pair, r.stop = p, nil
	r.mu.Unlock()
	r.Changed() // the session may be over, or have bounds by now
	why, err := p.serve(r.recorder)
	if why == session.ByLeave && p.leave(r.recorder != nil) {
		return why, nil
	}
	p.finish()
	if why == session.ByLeave {
		why = session.ByDrain
	}
	return why, err
}

// Changed implements session.Service.
func (r *Service) Changed() {
	phase := r.s.Phase()
	r.mu.Lock()
	stop, p := r.stop, r.pair
	r.mu.Unlock()
	switch {
	case p != nil && (phase == session.Over || phase == session.Leaving && r.s.Hurried()):
		p.end(session.ByDrain)
	case p != nil && phase == session.Leaving:
		p.stop(r.recorder)
	case p != nil:
		p.check()
	case stop != nil && phase >= session.Leaving:
		stop()
	}
}
