package relay

import (
	"cmp"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/pump"
	"tcpmux/daemon/session"
	"tcpmux/daemon/upstream"
)

// pair is a client and its upstream.
type pair struct {
	s       *session.Session
	client  conn.Conn
	server  upstream.Conn
	in, out pump.Direction // to the upstream, and to the client
	relay   *session.Relay // carries in its place; nil: in does
	rested  atomic.Bool    // the recorder has ended
	joint   session.Joint  // keeps both for the next process; nil: they end with this one
	left    left

	heard   atomic.Int64 // when something was carried last, in nanoseconds since loaded
	shut    shut
	broken  atomic.Pointer[error] // with which the upstream takes no more; nil: it does
	answers sync.WaitGroup        // carryOut

	waiting atomic.Bool // what is recorded waits for room

	mu    sync.Mutex
	why   session.Reason // for which both directions are ended; "": they go on
	err   error          // the cause
	timer *time.Timer    // calls check; nil: there have been no bounds
	over  bool           // nothing is carried any more
	looks *time.Timer    // will call look; nil: nothing will
	abort abort
}

// left is what had been taken from each connection, and was not written yet, when the directions
// were stopped. It is what the other side gets next.
type left struct{ in, out []byte }

// shut tells of each connection whether its peer was told that nothing more will be sent.
type shut struct{ client, server atomic.Bool }

// abort tells which connections end by a reset, rather than by the end of the stream.
type abort struct{ client, server bool }

// loaded is when the process began. Times are measured from it.
var loaded = time.Now()

func newPair(s *session.Session, up upstream.Conn) *pair {
	p := makePair(s, up)
	if s.Keep != nil {
		if p.plain() {
			p.joint = s.Keep.Join(up.Conn)
		}
		if p.joint == nil {
			s.Keep.Forsake()
		}
	}
	return p
}

// resumePair returns the pair of a client and the upstream that the previous process has connected
// it with.
func resumePair(s *session.Session, l *session.Upstream) *pair {
	p := makePair(s, upstream.Conn{Conn: l.Conn, Address: l.Address})
	p.joint = l.Joint
	p.shut.client.Store(l.LeftUpstream.Ended)
	p.shut.server.Store(l.Ended)
	p.out.Head = l.Moved
	p.out.Resume(l.Answered)
	if !s.Settings.Record { // else the recorder has it
		p.in.Head, s.Resume.Moved = s.Resume.Moved, nil
		p.in.Resume(s.Offset())
	}
	return p
}

func makePair(s *session.Session, up upstream.Conn) *pair {
	p := &pair{s: s, client: s.Conn, server: up}
	p.heard.Store(int64(time.Since(loaded)))
	p.in = pump.Direction{From: p.client, To: up.Conn, Spare: true, Splice: true, Limit: p.limit, Carried: p.sent, OnBlock: p.watch}
	p.out = pump.Direction{From: up.Conn, To: p.client, Spare: true, Splice: true, Carried: p.answered}
	return p
}

// sent notes what was carried to the upstream.
func (p *pair) sent(n int) {
	now := time.Now()
	p.heard.Store(int64(now.Sub(loaded)))
	p.s.Passed(n, now)
	p.s.Counts.Proxied(n, 0)
}

// answered notes what was carried to the client.
func (p *pair) answered(n int) {
	now := time.Now()
	p.heard.Store(int64(now.Sub(loaded)))
	p.s.Counts.Proxied(0, n)
	if p.relay != nil {
		p.relay.Answered(now)
	}
}

// serve carries both ways until both streams have ended, or there is a reason to end them. recorder
// records what the client sends; nil: nobody does.
func (p *pair) serve(recorder *session.Recorder) (session.Reason, error) {
	if recorder != nil {
		p.relay = recorder.Relay(&writer{p})
		if p.s.Upstream != nil { // when it was answered last is not known
			p.relay.Answered(time.Now())
		}
	}
	p.answers.Go(p.carryOut)
	if recorder != nil {
		p.record(recorder)
	} else {
		p.carryIn()
	}
	p.answers.Wait()
	p.s.SetAnswered(p.out.Bytes())
	if broken := p.broken.Load(); broken != nil {
		p.endUpstream(*broken) // unless it has ended
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == session.ByLeave && p.shut.client.Load() && p.shut.server.Load() {
		return session.ByEOF, nil
	}
	return cmp.Or(p.why, session.ByEOF), p.err
}

// verdict returns what a direction does when it is woken.
func (p *pair) verdict() pump.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.why {
	case "":
		return pump.Continue
	case session.ByLeave:
		return pump.Stop
	}
	return pump.Finish
}

// carryIn carries what the client sends.
func (p *pair) carryIn() {
	why := p.in.Run(p.verdict)
	p.left.in = why.Left
	switch {
	case p.isOver():
	case why.Full:
		p.end(session.ByVolume)
	case why.Write != nil:
		p.breakUpstream(why.Write)
	case why.Read != nil:
		p.endBroken(session.ReasonOf(why.Read, session.ByError), why.Read)
	case why.Ended:
		p.clientEnded()
	}
}

// clientEnded tells the upstream that the client's stream has ended, or that the client has broken
// its connection off: if a write to the client has returned that error, a read shows the end of the
// stream.
func (p *pair) clientEnded() {
	// In this order: what we have shut down may be closed by now.
	if conn.Broken(p.client) && !p.shut.client.Load() {
		p.endBroken(session.ByReset, os.NewSyscallError("recv", unix.ECONNRESET))
		return
	}
	p.closeServer()
}

func (p *pair) closeServer() {
	p.shut.server.Store(true)
	p.server.CloseWrite()
	p.watch() // it is read no more
}

// carryOut carries what the upstream sends.
func (p *pair) carryOut() {
	why := p.out.Run(p.verdict)
	p.left.out = why.Left
	switch {
	case p.isOver():
	case why.Write != nil:
		p.endBroken(session.ReasonOf(why.Write, session.ByError), why.Write)
	case why.Read != nil:
		p.endUpstream(why.Read)
	case p.broken.Load() != nil:
		p.endUpstream(*p.broken.Load())
	case conn.Broken(p.server) && !p.shut.server.Load():
		p.endUpstream(unix.ECONNRESET)
	case why.Ended:
		p.shut.client.Store(true)
		p.client.CloseWrite()
	}
}
