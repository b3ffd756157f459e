package builtin

import (
	"time"

	"tcpmux/daemon/session"
)

// recordedEcho sends back what is recorded.
type recordedEcho struct {
	*session.Recorder
	pace
	s *session.Session
}

func newRecordedEcho(s *session.Session) *recordedEcho {
	e := &recordedEcho{Recorder: session.NewRecorder(s), s: s}
	e.Echo(e.carried)
	s.Conn.SetNoDelay()
	return e
}

func (e *recordedEcho) carried(n int) {
	e.pause(e.spend(n, time.Now()), func() bool { return e.s.Phase() >= session.Leaving })
}

// Changed implements session.Service.
func (e *recordedEcho) Changed() {
	e.Recorder.Changed()
	e.wake()
}
