package worker

import (
	"cmp"
	"os"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/pump"
	"tcpmux/daemon/session"
)

// relay carries the stream of a client whose TLS the daemon speaks: its worker has an end of a pair
// of sockets in place of the connection. A nil one is for all other clients.
type relay struct {
	*pump.Pump
	session *session.Session
	theirs  conn.Conn // the worker's end; closed once it has that
}

// flushTimeout is how long a client whose worker has ended may take over what it was sent last.
const flushTimeout = 30 * time.Second

// begin makes the relay of a client that needs one.
func (s *service) begin() error {
	if !s.session.SpeaksTLS() {
		return nil
	}
	p, theirs, err := pump.Start(s.session.Conn, pump.Options{
		Over: s.session.Hurried,
		Settled: func() {
			if s.session.Hurried() {
				s.Changed() // control tells the worker now
			}
		},
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay = &relay{p, s.session, theirs}
	s.relay.changed()
	return nil
}

// conn returns what a worker gets as the connection of its session.
func (r *relay) conn(s *session.Session) conn.Conn {
	if r == nil {
		return s.Conn
	}
	return r.theirs
}

// passed notes that a worker has the connection, or that none will.
func (r *relay) passed() {
	if r != nil {
		r.theirs.Close()
	}
}

// changed has the pump look at the session's phase. It may be called from any goroutine.
func (r *relay) changed() {
	if r != nil && r.session.Hurried() {
		r.Hurry()
		r.session.Conn.Wake()
	}
}

// control is controlOf for the worker. When the session's time is over, what has arrived is still
// to be recorded, so the worker learns of that only once it has all of it, unless it waits for its
// client.
func (r *relay) control(s *session.Session) control {
	c := controlOf(s)
	if r != nil && c.Phase == session.Over && !r.Settled() {
		c.Phase, c.Hurried = session.Serving, false // it stays as it is: a phase only grows
	}
	return c
}

// end ends the relay, once the client has what was sent to it, and returns why its session ends: to
// the worker a connection that breaks is a pair whose other end is closed.
func (r *relay) end(why session.Reason, err error) (session.Reason, error) {
	if r == nil {
		return why, err
	}
	read, write := r.Err()
	r.End(flushTimeout)
	cause := read
	if why == session.ByReset {
		cause = cmp.Or(read, write)
	}
	if cause == nil || why != session.ByEOF && why != session.ByReset {
		return why, err
	}
	cause = os.NewSyscallError("recv", cause)
	return session.ReasonOf(cause, session.ByError), cause
}
