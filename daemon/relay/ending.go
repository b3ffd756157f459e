package relay

import (
	"fmt"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/session"
)

// isOver reports whether the directions were ended, not only stopped.
func (p *pair) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why != "" && p.why != session.ByLeave
}

// breakUpstream notes that the upstream takes no more. What it has sent before still goes to the
// client, as it may say why. Then carryOut ends.
func (p *pair) breakUpstream(err error) {
	p.broken.CompareAndSwap(nil, &err)
	p.watch() // the client may be read no more
}

// endBroken ends both directions because the client has broken its connection off, or has vanished.
// The upstream gets a reset too.
func (p *pair) endBroken(why session.Reason, err error) { p.endBy(why, err, abort{server: true}) }

// endUpstream ends both directions because of an error of the upstream's connection. The client
// gets a reset.
func (p *pair) endUpstream(err error) {
	why := session.ByUpstream
	switch session.ReasonOf(err, session.ByError) {
	case session.ByReset, session.ByTruncation:
		why = session.ByUpstreamReset
	case session.ByLoss:
		why = session.ByUpstreamLoss
	}
	p.endBy(why, fmt.Errorf("upstream %s: %w", p.server.Address, err), abort{client: true})
}

// end ends both directions once what has come by now was carried, as far as there is room for it.
func (p *pair) end(why session.Reason) { p.endBy(why, nil, abort{}) }

// endBy is end, with the cause, and how. The first reason stays. But a pair that was to be left to
// the next process has ended if either side breaks off before it is.
func (p *pair) endBy(why session.Reason, err error, how abort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != "" && (p.why != session.ByLeave || err == nil) {
		return
	}
	p.why, p.err, p.abort = why, err, how
	p.server.Expire()
	if p.relay != nil { // the recorder takes what has come
		p.relay.End()
	}
	p.client.Expire()
}

// finish ends what serve has begun. The upstream is told, and the client will be by a Close.
func (p *pair) finish() {
	p.rest()
	p.mu.Lock()
	how := p.abort
	p.mu.Unlock()
	p.hangUp(p.client, how.client)
	p.hangUp(p.server, how.server)
	if p.joint != nil {
		p.joint.Part()
	}
}

// hangUp ends one connection, by a reset if abort is set. Else what was sent on it arrives: bytes
// that have come and are not read are removed, or the kernel would send a reset.
func (p *pair) hangUp(c conn.Conn, abort bool) {
	if !abort {
		c.HangUp()
		return
	}
	p.flush(c)
	conn.Abort(c)
}

// A reset drops what has not arrived yet. So the peer first has flushTimeout to take it.
const (
	flushTimeout = time.Second
	flushPause   = 5 * time.Millisecond
)

// flush waits until all that was sent has arrived. It asks again and again, as the kernel has no
// event for that.
func (p *pair) flush(c conn.Conn) {
	for until := time.Now().Add(flushTimeout); conn.Unsent(c) > 0 && time.Now().Before(until) && !p.s.Hurried(); {
		time.Sleep(flushPause)
	}
}

// rest has nobody look at the session's bounds, or at its client, any more.
func (p *pair) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, t := range [...]*time.Timer{p.timer, p.looks} {
		if t != nil {
			t.Stop()
		}
	}
}
