package relay

import (
	"tcpmux/daemon/conn"
	"tcpmux/daemon/session"
)

// plain reports whether both connections are sockets with nothing between them and us but the
// kernel's TLS, where what was written is the kernel's: then the directions can be stopped with
// nothing in between.
func (p *pair) plain() bool {
	_, client := conn.PollOf(p.client)
	_, server := conn.PollOf(p.server.Conn)
	return client && server
}

// stop has both directions stop, as the next process goes on with the connections. A recorder stops
// first: meanwhile the upstream still gets what was recorded, and the client what the upstream
// sends. If the next process cannot go on with them, nothing changes until the session is hurried.
func (p *pair) stop(recorder *session.Recorder) {
	switch {
	case p.joint == nil || !p.s.Survives():
	case recorder != nil && !p.rested.Load():
		recorder.Changed()
	default:
		p.stopNow()
	}
}

// stopRecorded is stop once the recorder has left the client.
func (p *pair) stopRecorded() {
	if p.joint == nil || !p.s.Survives() {
		p.end(session.ByDrain)
		return
	}
	p.stopNow()
}

func (p *pair) stopNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != "" {
		return
	}
	p.why = session.ByLeave
	p.server.Expire()
	p.client.Expire()
}

// leave leaves both connections, whose directions have stopped, to the next process. It reports
// false if that could not go on with them.
func (p *pair) leave(recorded bool) bool {
	if p.joint == nil {
		return false
	}
	left := p.joint.Leave(session.Left{
		Offset: p.s.Offset(), Moved: p.left.in, Recorded: recorded, Ended: p.shut.server.Load(),
		Upstream: session.LeftUpstream{Answered: p.out.Bytes(), Moved: p.left.out, Ended: p.shut.client.Load()},
	})
	if left {
		p.rest()
	}
	return left
}
