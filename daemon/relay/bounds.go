package relay

import (
	"time"

	"tcpmux/daemon/session"
)

// limit returns how many bytes the client may send.
func (p *pair) limit() int64 { return p.s.Bounds.Load().Bytes }

// check ends both directions if the session's time is over, and else looks again when it will be.
func (p *pair) check() {
	at, why := p.due()
	if !at.IsZero() && !time.Now().Before(at) {
		p.end(why)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over || p.why != "":
	case at.IsZero():
		if p.timer != nil {
			p.timer.Stop()
		}
	case p.timer == nil:
		p.timer = time.AfterFunc(time.Until(at), p.check)
	default:
		p.timer.Reset(time.Until(at))
	}
}

// due returns when the session has to end as things stand, and why; the zero time is never.
func (p *pair) due() (at time.Time, why session.Reason) {
	b := p.s.Bounds.Load()
	if b.Idle > 0 {
		at, why = loaded.Add(time.Duration(p.heard.Load())+b.Idle), session.ByIdle
	}
	if end := p.s.Opened.Add(b.Session); b.Session > 0 && (at.IsZero() || end.Before(at)) {
		at, why = end, session.ByAge
	}
	return at, why
}
