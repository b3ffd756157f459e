package session

import (
	"errors"
	"io"
	"os"
	"time"

	"tcpmux/daemon/counts"
	"tcpmux/daemon/tlsconn"
)

// leaveGrace is how long a handshake that has begun may go on when the session is Leaving: the next
// process could not.
const leaveGrace = time.Second

// TLSStage is the stage of a connection that speaks TLS: it makes the handshake. From then on the
// session's Conn is the stream in it.
type TLSStage struct{}

// Run implements Stage.
func (TLSStage) Run(s *Session) (why Reason, err error) {
	if s.Done&DoneTLS != 0 {
		return "", nil
	}
	if err := s.answer(); err != nil {
		return s.noHandshake(err)
	}
	err = aside(func() (err error) {
		why, err = s.handshake()
		return err
	})
	return why, err
}

// aside runs f on a goroutine of its own, and waits for it. It is for what needs a large stack
// once: the session's goroutine would keep a part of that for as long as it lasts.
func aside(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// handshake makes the handshake. A reason is that the session ends.
func (s *Session) handshake() (Reason, error) {
	s.Await(ForHandshake)
	own, leave := s.Env.Handshakes.enter(s)
	began := time.Now()
	info, err := s.Conn.(*tlsconn.Conn).Handshake(s.Settings.TLS, s.interrupt(own), s.secure)
	leave()
	if err != nil {
		return s.noHandshake(err)
	}
	s.Counts.HandshakeDone(time.Since(began))
	s.SetTLS(info)
	if info.Kept || s.Keep == nil {
		return "", nil
	}
	s.Keep.Forsake()
	if s.Phase() == Leaving {
		return ByDrain, s.Open()
	}
	return "", nil
}

// secure returns what keeps the connection for the next process; nil: nothing does.
func (s *Session) secure() tlsconn.Memory {
	if s.Keep == nil {
		return nil
	}
	return s.Keep.Secure()
}

// errOver and errLeaving are why a handshake is given up.
var (
	errOver    = errors.New("the session is over")
	errLeaving = errors.New("the next process begins anew")
)

// interrupt returns what decides about a handshake when a wait was woken.
func (s *Session) interrupt(own *handshaking) tlsconn.Interrupt {
	var grace time.Time
	return func(begun bool) (time.Time, error) {
		switch {
		case own.crowded.Load():
			return grace, errCrowded
		case s.Hurried():
			return grace, errOver
		case s.Phase() != Leaving:
			return grace, nil
		case !begun && s.Keep != nil && s.Keep.Survives():
			return grace, errLeaving
		case grace.IsZero():
			grace = time.Now().Add(leaveGrace)
		}
		return grace, nil
	}
}

// noHandshake ends a session whose handshake has failed.
func (s *Session) noHandshake(err error) (Reason, error) {
	if errors.Is(err, errLeaving) {
		return ByLeave, nil
	}
	why, counted := handshakeReason(err)
	if s.Phase() == Leaving && errors.Is(err, os.ErrDeadlineExceeded) {
		why = ByDrain
	}
	if counted != "" {
		s.Counts.HandshakeFailed(counted)
	}
	if serr := s.Open(); serr != nil {
		return BySink, serr
	}
	if why == ByEOF || why == ByDrain {
		err = nil
	}
	return why, err
}

// handshakeReason returns why a session ends whose handshake has failed, and what that counts as.
func handshakeReason(err error) (why Reason, counted string) {
	switch {
	case errors.Is(err, errOver):
		return ByDrain, ""
	case err == io.EOF: // as health checks do
		return ByEOF, ""
	case errors.Is(err, tlsconn.ErrPlainText):
		return ByPlainText, counts.HandshakePlainText
	case errors.Is(err, tlsconn.ErrCertificate):
		return ByCertificate, counts.HandshakeCertificate
	case errors.Is(err, tlsconn.ErrKernel):
		return ByHandshake, counts.HandshakeKernel
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ByHandshake, counts.HandshakeTimeout
	}
	return ReasonOf(err, ByHandshake), counts.HandshakeOther
}
