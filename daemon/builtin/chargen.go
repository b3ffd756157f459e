package builtin

import (
	"time"

	"tcpmux/daemon/session"
)

const (
	firstChar  = 0x20
	chars      = 0x7f - firstChar // printable characters of ASCII
	lineLength = 72               // of them in a line
	period     = chars * (lineLength + 2)
	// atOnce is how much is sent at a time: no divisor of the period, so that a session which
	// leaves is anywhere in it.
	atOnce = 4 << 10
)

// pattern is what chargen sends, twice: what begins within the first is in it for a whole period.
var pattern = makePattern()

// makePattern makes lines of which each begins one character later (RFC 864).
func makePattern() (p [2 * period]byte) {
	line := p[:0]
	for first := range 2 * chars {
		for i := range lineLength {
			line = append(line, byte(firstChar+(first+i)%chars))
		}
		line = append(line, "\r\n"...)
	}
	return p
}

// chargen sends a pattern until the client has gone. What that sends is thrown away.
type chargen struct {
	service
	sent int64 // bytes of the pattern
}

// Serve implements session.Service.
func (c *chargen) Serve() (why session.Reason, err error) {
	c.sent = c.s.Resume.Framing
	if why, err = c.begin(); why != "" {
		return why, err
	}
	for why == "" {
		why, err = c.next()
	}
	return why, err
}

// next sends what there is room for. A reason is that the session ends.
func (c *chargen) next() (session.Reason, error) {
	if c.bidFarewell(); c.farewell {
		why, err := c.linger(c.due, c.sent)
		if why == "" {
			why = c.look()
		}
		return why, err
	}
	if why := c.look(); why != "" {
		return why, nil
	}
	n := c.room(atOnce, c.sent)
	if n == 0 {
		return c.full(c.sent)
	}
	at := int(c.sent % period)
	n, why, err := c.send(pattern[at:at+n], func() {})
	if n > 0 {
		c.heard = time.Now()
		c.sent += int64(n)
	}
	if lost := c.s.Carry(c.s.Conn.Unread(), c.sent); lost != nil && why == "" {
		return session.ReasonOf(lost, session.ByError), lost
	}
	if n > 0 {
		c.pause(c.spend(n, c.heard), c.leaves)
	}
	return why, err
}
