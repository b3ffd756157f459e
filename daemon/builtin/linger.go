package builtin

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/session"
)

// peeked is what a peek has shown.
type peeked struct {
	s   *session.Session
	n   int
	err error
}

// see looks whether anything has come: bytes, the end, or an error.
func (p *peeked) see() bool {
	var one [1]byte
	n, err := p.s.Conn.Peek(one[:])
	p.n, p.err = max(n, 0), err
	return err != unix.EAGAIN
}

// linger throws away what the client sends until it closes, for which there is a reason, or until
// the time is over, for which there is none. The next process gets memory.
func (b *service) linger(by time.Time, memory int64) (session.Reason, error) {
	p := peeked{s: b.s}
	b.s.Conn.SetReadDeadline(by)
	for {
		switch err := b.s.Conn.Wait(p.see); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if why := b.phase(); why != "" || !time.Now().Before(by) {
				return why, nil
			}
			b.s.Conn.SetReadDeadline(by)
			continue
		case err != nil:
			return session.ReasonOf(err, session.ByError), err
		case p.n == 0 && p.err == nil:
			return session.ByEOF, nil
		case p.n > 0:
			p.err = b.s.Carry(max(b.s.Conn.Unread(), p.n), memory)
		}
		if p.err != nil {
			err := os.NewSyscallError("recv", p.err)
			return session.ReasonOf(err, session.ByError), err
		}
	}
}

// lingering is how long a client may take to close after it was told that nothing more will come:
// closed before, with something unread, it could lose what it was sent (RFC 2525, section 2.17).
const lingering = 10 * time.Second

// full ends a session that has carried all it may.
func (b *service) full(memory int64) (session.Reason, error) {
	b.s.Conn.CloseWrite()
	why, err := b.linger(time.Now().Add(lingering), memory)
	if why != session.ByLeave {
		why = session.ByVolume
	}
	return why, err
}

// phase returns why the session ends with its phase; "" when it does not.
func (b *service) phase() session.Reason {
	switch b.s.Phase() {
	case session.Leaving:
		return session.ByLeave
	case session.Over:
		return session.ByDrain
	}
	return ""
}

// leaves reports whether nothing is to be waited for any more.
func (b *service) leaves() bool { return b.s.Phase() >= session.Leaving }
