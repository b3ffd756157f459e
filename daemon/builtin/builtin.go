// Package builtin has the small services of inetd, for tests of networks and devices: echo (RFC
// 862), discard (RFC 863), daytime (RFC 867), time (RFC 868) and chargen (RFC 864). It promises
// that nobody makes endless work with them: what is carried for a client is bounded in rate, size
// and time, also where somebody joins two echo ports. A client that waits takes no buffer. Clients
// outlive the process as those that are recorded do.
package builtin

import (
	"errors"
	"os"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/session"
	"tcpmux/daemon/tlsconn"
)

// New returns the service of a session whose listener has a built-in one (config.Listener.BuiltIn).
func New(s *session.Session) (session.Service, error) {
	switch s.Settings.Listener.Service {
	case config.ServiceEcho:
		if s.Settings.Record {
			return newRecordedEcho(s), nil
		}
		return newCarrier(s, true), nil
	case config.ServiceDiscard:
		if s.Settings.Record {
			return session.NewRecorder(s), nil
		}
		return newCarrier(s, false), nil
	case config.ServiceChargen:
		return &chargen{service: service{s: s}}, nil
	case config.ServiceTime:
		return newAnswer(s, timeText), nil
	case config.ServiceDaytime:
		return newAnswer(s, daytimeText), nil
	}
	return nil, errors.New("service " + s.Settings.Listener.Service + " is not built in")
}

// service is what the services have in common.
type service struct {
	s *session.Session
	pace
	heard time.Time // when the client last sent something, or took something
	due   time.Time // the read deadline that is set; zero: none
	// The client was told that nothing more will be sent to it.
	farewell bool
}

// Changed implements session.Service.
func (b *service) Changed() {
	if b.s.Phase() >= session.Leaving {
		b.s.Conn.Expire()
	} else {
		b.s.Conn.Wake()
	}
	b.wake()
}

// begin greets the client. If it returns a reason, the session ends already.
func (b *service) begin() (session.Reason, error) {
	greeting := b.write(b.s.Greeting())
	if err := b.s.Open(); err != nil {
		return session.BySink, err
	}
	if greeting != nil {
		return session.ReasonOf(greeting, session.ByBanner), greeting
	}
	b.s.Await(session.ForClient)
	if b.heard = b.s.Resume.Heard; b.heard.IsZero() {
		b.heard = time.Now()
	}
	return b.look(), nil
}

// write sends all of text, for which the client has the time that it has for a banner.
func (b *service) write(text []byte) error {
	by := time.Now().Add(b.s.Env.BannerTimeout)
	for len(text) > 0 {
		b.s.Conn.SetWriteDeadline(by)
		n, err := b.s.Send(text, func() {})
		if err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// bounds returns those in force.
func (b *service) bounds() session.Bounds { return b.s.Bounds.Load().BuiltIn() }

// look looks at the session's phase and time, and returns why it ends; "" when it goes on, and the
// deadline is set.
func (b *service) look() session.Reason {
	if why := b.phase(); why != "" {
		return why
	}
	bounds := b.bounds()
	at, why := b.s.Opened.Add(bounds.Session), session.ByAge
	if idle := b.heard.Add(bounds.Idle); bounds.Idle > 0 && idle.Before(at) {
		at, why = idle, session.ByIdle
	}
	if !time.Now().Before(at) {
		return why
	}
	b.due = at
	b.s.Conn.SetReadDeadline(at)
	return ""
}

// interrupted handles a wait that has ended with an error.
func (b *service) interrupted(err error) (session.Reason, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return b.look(), nil
	}
	return session.ReasonOf(err, session.ByError), err
}

// lookAgain is how often a service that waits for room looks at the phase and the bounds.
const lookAgain = 5 * time.Second

// send sends what there is room for, or waits for room, for a while. A wait that the daemon has
// encrypted for is not begun again: what was not sent by its end is lost.
func (b *service) send(text []byte, release func()) (n int, why session.Reason, err error) {
	by, again := time.Now().Add(lookAgain), !b.encrypts()
	if !again || b.due.Before(by) {
		by = b.due
	}
	b.s.Conn.SetWriteDeadline(by)
	if n, err = b.s.Send(text, release); err == nil {
		return n, "", nil
	}
	late := err
	if why, err = b.interrupted(err); why == "" && !again {
		return 0, session.ByError, late
	}
	return n, why, err
}

// encrypts reports whether the daemon encrypts what the client is sent.
func (b *service) encrypts() bool {
	_, secured := b.s.Conn.(*tlsconn.Conn)
	return secured && !b.s.Secured().Kernel
}

// room returns how many bytes may be carried next, n at most, after so many.
func (b *service) room(n int, carried int64) int {
	return int(min(max(b.bounds().Bytes-carried, 0), int64(n)))
}

// bidFarewell tells the client of a session that drains that nothing more will be sent to it.
func (b *service) bidFarewell() {
	if b.s.Phase() == session.Draining && !b.farewell {
		b.farewell = true
		b.s.Conn.CloseWrite()
	}
}
