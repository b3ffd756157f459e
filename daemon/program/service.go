package program

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/pump"
	"tcpmux/daemon/session"
)

// runner runs one program for one session.
type runner struct {
	session *session.Session
	spec    *Spec
	grace   time.Duration // between SIGTERM and SIGKILL
	process atomic.Pointer[process]
	pump    atomic.Pointer[pump.Pump] // nil: the program has the connection itself
}

// flushTimeout is how long a client whose program has ended may take over what the program has
// written last, where the daemon has to encrypt it. Otherwise the kernel has it.
const flushTimeout = 30 * time.Second

// start starts the program; stdin is its standard input, nil: the connection. From then on the
// program's connection blocks, as programs expect.
func (r *runner) start(stdin *os.File) (*process, error) {
	env, source := r.session.Env, &r.session.Source
	theirs, stderr, err := newStderrLog(env.Log, source, env.Lines)
	if err != nil {
		return nil, err
	}
	defer theirs.Close() // the program has its own
	p, err := r.startWith(stdin, theirs, stderr)
	if err != nil {
		stderr.discard()
		r.flush(0)
		return nil, err
	}
	r.process.Store(p)
	r.stopIfOver() // an earlier call found no process
	return p, nil
}

// startWith is start, with the program's standard error.
func (r *runner) startWith(stdin, theirs *os.File, stderr *stderrLog) (p *process, err error) {
	c, err := r.connection(stdin != nil)
	if err != nil {
		return nil, err
	}
	if c != r.session.Conn {
		defer c.Close() // the program has its own
	}
	variables := r.spec.environ(r.session.Conn.LocalAddr(), &r.session.Source)
	err = os.ErrClosed // stays if the connection is closed
	c.Control(func(fd uintptr) {
		files := []uintptr{fd, fd, theirs.Fd()}
		if stdin != nil {
			files[0] = stdin.Fd()
		}
		if err = unix.SetNonblock(int(fd), false); err == nil {
			p, err = startProcess(r.spec, variables, files, stderr, r.grace)
		}
	})
	return p, err
}

// connection returns what the program has as its connection: the client's, or where the daemon
// speaks TLS on that, the end of a pair of sockets. Of writeOnly the program reads nothing.
func (r *runner) connection(writeOnly bool) (conn.Conn, error) {
	if !r.session.SpeaksTLS() {
		return r.session.Conn, conn.Rest(r.session.Conn) // the program may peek
	}
	p, theirs, err := pump.Start(r.session.Conn, pump.Options{WriteOnly: writeOnly, Over: r.session.Hurried})
	if err != nil {
		return nil, err
	}
	r.pump.Store(p)
	return theirs, nil
}

// finish ends the connection of a program that has ended. A process that has left the program's
// group may still hold it: it has nobody to talk to any more.
func (r *runner) finish(p *process) {
	timeout := flushTimeout
	if p.isStopped() { // the session's time is over
		timeout = min(timeout, r.grace)
	}
	r.flush(timeout)
	r.session.Conn.HangUp()
}

// flush ends the pump, once the client has taken what the program has written, or its time for that
// is over.
func (r *runner) flush(timeout time.Duration) {
	if p := r.pump.Load(); p != nil {
		p.End(timeout)
	}
}

// stopIfOver stops the program if the session's time to finish is over. Safe for concurrent use.
func (r *runner) stopIfOver() {
	if r.session.Phase() != session.Over {
		return
	}
	if p := r.pump.Load(); p != nil {
		p.Hurry()
	}
	if p := r.process.Load(); p != nil {
		p.stop(session.ByDrain)
	}
}

// wait waits until the program has ended, stops it at its time limits, and returns how it ended.
// The limits are those that the session began with: a reload does not change them.
func (r *runner) wait(p *process) string {
	settings := r.session.Settings
	if limit := settings.Limits.MaxSession; limit > 0 {
		left := time.Until(r.session.Opened.Add(limit))
		defer time.AfterFunc(left, func() { p.stop(session.ByAge) }).Stop()
	}
	if limit := settings.ExecTimeout; limit > 0 {
		defer time.AfterFunc(limit, func() { p.stop(session.ByTimeout) }).Stop()
	}
	return p.wait()
}

// service is a connection that a program has as its standard input and output. The daemon records
// nothing of it, and unless it speaks TLS on it neither reads it nor waits for it.
type service struct{ runner }

// NewService returns the service that runs a program which has the client's connection as its
// standard input and output: what the client sends is not recorded. A program that is to stop gets
// SIGTERM, and SIGKILL after grace. It serves only sessions that began in this process.
func NewService(s *session.Session, spec *Spec, grace time.Duration) session.Service {
	return &service{runner{session: s, spec: spec, grace: grace}}
}

// Serve greets the client, runs the program and waits for its end.
func (s *service) Serve() (session.Reason, error) {
	greeting := s.greet()
	if err := s.session.Open(); err != nil {
		return session.BySink, err
	}
	if greeting != nil {
		return session.ReasonOf(greeting, session.ByBanner), greeting
	}
	p, err := s.start(nil)
	if err != nil {
		return session.ByExec, err
	}
	s.session.Await(session.ForProgram)
	how := s.wait(p)
	s.finish(p)
	return p.reason(how)
}

// greet sends the greeting. Nothing is before it in the kernel's buffer, so one that does not fit
// there is an error.
func (s *service) greet() error {
	text := s.session.Greeting()
	if len(text) == 0 {
		return nil
	}
	n, err := s.session.Conn.TryWrite(text)
	if err == nil && n < len(text) {
		err = os.NewSyscallError("write", unix.EAGAIN)
	}
	return err
}

// Changed stops the program once the session's time to finish is over. Until then it is left to
// finish, with the settings that it began with.
func (s *service) Changed() { s.stopIfOver() }
