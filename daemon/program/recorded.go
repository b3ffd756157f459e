package program

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"time"

	"tcpmux/daemon/session"
)

// recordedService is a connection that a program has as its standard output, while the daemon
// records what the client sends before the program gets it from a pipe.
type recordedService struct {
	runner
	recorder *session.Recorder
}

// NewRecordedService returns the service that runs a program and records what the client sends: the
// program has the client's connection as its standard output, and a pipe, which it gets all
// recorded bytes from, as its standard input. A program that is to stop gets SIGTERM, and SIGKILL
// after grace. It serves only sessions that began in this process.
func NewRecordedService(s *session.Session, spec *Spec, grace time.Duration) session.Service {
	return &recordedService{
		runner:   runner{session: s, spec: spec, grace: grace},
		recorder: session.NewRecorder(s),
	}
}

// Serve greets the client, runs the program, and records and relays what the client sends, until
// both the client and the program have ended.
func (s *recordedService) Serve() (session.Reason, error) {
	if why, err := s.recorder.Begin(s.recorder.Greet()); why != "" {
		return why, err
	}
	pipe, stdin, err := newPipe("stdin", false)
	if err != nil {
		return session.ByExec, err
	}
	p, err := s.start(stdin)
	_ = stdin.Close() // the program has its own
	if err != nil {
		return session.ByExec, errors.Join(err, pipe.Close())
	}
	return s.record(p, pipe)
}

// record records and relays what the client sends, and returns when both the client and the program
// have ended.
func (s *recordedService) record(p *process, pipe *os.File) (session.Reason, error) {
	relay := s.recorder.Relay(pipe)
	ended := make(chan string, 1)
	go func() {
		how := s.wait(p)
		relay.End()
		s.notify()
		ended <- how
	}()
	why, err := s.recorder.Record()
	_ = pipe.Close() // the program reads to its end
	if stopsProgram(why) {
		p.stop(why)
	}
	s.session.Await(session.ForProgram)
	how := <-ended
	s.finish(p)
	if why == session.BySink {
		return why, err
	}
	why, stopErr := p.reason(how)
	if err != nil && stopErr != nil {
		return why, fmt.Errorf("%w; %w", err, stopErr)
	}
	return why, cmp.Or(err, stopErr)
}

// stopsProgram reports whether a program is stopped when its client's recording ends for a reason.
// A client that has sent all, or is gone, lets it finish.
func stopsProgram(why session.Reason) bool {
	switch why {
	case session.ByIdle, session.ByAge, session.ByVolume, session.BySlow, session.ByMalformed, session.BySink:
		return true
	}
	return false
}

// Changed stops the program once the session's time to finish is over, and has what the client has
// sent by then recorded. Until then the program is left to finish.
func (s *recordedService) Changed() {
	s.stopIfOver()
	s.notify()
}

// notify has the recorder look at what has changed. Its own Changed would also end what is being
// written to a client whose TLS the daemon speaks.
func (s *recordedService) notify() {
	if s.pump.Load() != nil {
		s.session.Conn.Wake()
		return
	}
	s.recorder.Changed()
}
