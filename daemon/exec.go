package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// job is the program that serves a session, from before it runs.
type job struct {
	*session

	mu      sync.Mutex
	program *program // nil until it runs
	stopped reason   // why it was stopped; "" while it was not
}

// start runs the program. The connection blocks from then on, as programs expect.
func (j *job) start(control func(func(fd uintptr)), stdin *os.File) (p *program, err error) {
	env := j.settings.launch.environ(j.session)
	err = os.ErrClosed // by who has closed the connection before
	control(func(fd uintptr) {
		in := int(fd)
		if stdin != nil {
			in = int(stdin.Fd())
		}
		if err = unix.SetNonblock(int(fd), false); err == nil {
			p, err = startProgram(j.session, env, in, int(fd))
		}
	})
	return p, err
}

// run waits until the program has ended, and stops it when its time is over. It returns how it ended.
func (j *job) run(p *program) string {
	j.mu.Lock()
	j.program = p
	if j.stopped != "" {
		p.stop()
	}
	j.mu.Unlock()
	if j.overdue.Load() { // it may have come before there was a program
		j.stop(byDrain)
	}
	if limit := j.settings.Limits.MaxSession; limit > 0 {
		end := time.AfterFunc(time.Until(j.opened.Add(limit)), func() { j.stop(byAge) })
		defer end.Stop()
	}
	if limit := j.settings.ExecTimeout; limit > 0 {
		defer time.AfterFunc(limit, func() { j.stop(byTimeout) }).Stop()
	}
	return p.wait()
}

// stop has the program end. The first reason stays.
func (j *job) stop(why reason) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped != "" {
		return
	}
	j.stopped = why
	if j.program != nil {
		j.program.stop()
	}
}

// verdict is why the session has ended whose program ended so.
func (j *job) verdict(how string) (reason, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped != "" {
		return j.stopped, fmt.Errorf("program was stopped: %s", how)
	}
	return reason(how), nil
}

// hangUp ends the connection for the client: whoever still holds the connection, having left the program's process group,
// has nobody to talk to any more. What the client sent in vain is taken from the kernel, or closing would break off what it
// is still to hear (RFC 2525, section 2.17).
func hangUp(fd uintptr) {
	_ = unix.Shutdown(int(fd), unix.SHUT_RDWR) // it fails when the client has gone
	_ = discard(fd, unread(fd))                // as does this
}

// execution is a connection that a program of the user's serves, as its standard input and output. The daemon keeps a duplicate
// that it does not read, nor wait for: all that happens to it is the program's affair.
type execution struct {
	job
	heldFD
}

func newExecution(s *session, fd int) *execution {
	return &execution{job: job{session: s}, heldFD: heldFD{fd: fd}}
}

// serve implements model: it greets, runs the program and waits for its end.
func (x *execution) serve() (reason, error) {
	greeting := x.greet()
	if err := x.open(); err != nil {
		return bySink, err
	}
	if greeting != nil {
		return reasonOf(greeting, byBanner), greeting
	}
	p, err := x.start(x.control, nil)
	if err != nil {
		return byExec, err
	}
	how := x.run(p)
	x.control(hangUp)
	return x.verdict(how)
}

// greet sends the banner. There is nothing before it in the kernel's buffer, where it fits.
func (x *execution) greet() (err error) {
	if x.settings.banner.text == "" {
		return nil
	}
	text := x.settings.banner.of(x.session)
	n := 0
	x.control(func(fd uintptr) { n, err = unix.Write(int(fd), text) })
	if err == nil && n < len(text) {
		err = unix.EAGAIN
	}
	return os.NewSyscallError("write", err)
}

// handOver implements model: it is never called, as no ring holds what a program serves.
func (x *execution) handOver() {}

// drain implements model: a program is left to finish.
func (x *execution) drain() {}

// nudge implements model: a program keeps what it began with.
func (x *execution) nudge() {}

// expire stops the program.
func (x *execution) expire() { x.stop(byDrain) }

// recordedExecution is a connection that a program serves, as its standard output, while the daemon records what the client says
// before the program has it from a pipe.
type recordedExecution struct {
	*talk
	job job
}

func newRecordedExecution(s *session, fd int) (*recordedExecution, error) {
	t, err := newTalk(s, fd)
	return &recordedExecution{talk: t, job: job{session: s}}, err
}

// serve greets, runs the program, and records and hands on what the client says until both have ended.
func (x *recordedExecution) serve() (reason, error) {
	if why, err := x.begin(x.greet()); why != "" {
		return why, err
	}
	pipe, stdin, err := programPipe(1, "stdin")
	if err != nil {
		return byExec, err
	}
	p, err := x.job.start(x.control, stdin)
	_ = stdin.Close() // the program has its own
	if err != nil {
		return byExec, errors.Join(err, pipe.Close())
	}
	x.relay = &relay{pipe: pipe}
	ended := make(chan string, 1)
	go x.attend(p, ended)
	why, err := x.converse()
	_ = pipe.Close() // the end of what the program can read
	switch why {
	case byIdle, byAge, byVolume, bySlow, byMalformed, bySink:
		x.job.stop(why)
	}
	how := <-ended
	x.control(hangUp)
	if why == bySink {
		return why, err
	}
	why, stopped := x.job.verdict(how)
	if err != nil && stopped != nil {
		return why, fmt.Errorf("%w; %w", err, stopped)
	}
	return why, cmp.Or(err, stopped)
}

// attend waits for the program's end, which is the session's.
func (x *recordedExecution) attend(p *program, ended chan<- string) {
	how := x.job.run(p)
	x.relay.end()
	x.wake()
	ended <- how
}

// drain implements model: a program is left to finish.
func (x *recordedExecution) drain() {}

// expire stops the program, and has what the client has said by now recorded.
func (x *recordedExecution) expire() {
	x.job.stop(byDrain)
	x.talk.expire()
}
