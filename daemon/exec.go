package daemon

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Reasons of sessions that a program serves, beside those that all sessions know. How the program ended is one too: "exit 0" to
// "exit 255" for its status, "signal 9" for the signal that ended it.
const (
	byExec    reason = "exec"    // the program could not be started
	byTimeout reason = "timeout" // exec_timeout
)

// execution is a connection that a program of the user's serves, as its standard input and output. The daemon keeps a duplicate
// that it does not read, nor wait for: it blocks, as programs expect, and all that happens to it is the program's affair.
type execution struct {
	*session
	heldFD

	mu      sync.Mutex
	program *program // nil until it runs
	stopped reason   // why it was stopped; "" while it was not
}

func newExecution(s *session, fd int) *execution {
	return &execution{session: s, heldFD: heldFD{fd: fd}}
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
	p, err := x.start()
	if err != nil {
		return byExec, err
	}
	how := x.run(p)
	x.leave()
	return x.verdict(how)
}

// greet sends the banner. There is nothing before it in the kernel's buffer, where it fits.
func (x *execution) greet() (err error) {
	if x.settings.banner.text == "" {
		return nil
	}
	text := x.settings.banner.appendTo(nil, x.session)
	n := 0
	x.control(func(fd uintptr) { n, err = unix.Write(int(fd), text) })
	if err == nil && n < len(text) {
		err = unix.EAGAIN
	}
	return os.NewSyscallError("write", err)
}

// start runs the program with the connection as its standard input and output.
func (x *execution) start() (p *program, err error) {
	env := x.settings.launch.environ(x.session)
	x.control(func(fd uintptr) {
		if err = unix.SetNonblock(int(fd), false); err == nil {
			p, err = startProgram(x.session, env, int(fd), int(fd))
		}
	})
	return p, err
}

// run waits until the program has ended, and stops it when its time is over.
func (x *execution) run(p *program) string {
	x.mu.Lock()
	x.program = p
	if x.stopped != "" {
		p.stop()
	}
	x.mu.Unlock()
	if x.server.expired.Load() { // it may have come before there was a program
		x.expire()
	}
	if limit := x.settings.ExecTimeout; limit > 0 {
		defer time.AfterFunc(limit, func() { x.stop(byTimeout) }).Stop()
	}
	return p.wait()
}

// stop has the program end. The first reason stays.
func (x *execution) stop(why reason) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stopped != "" {
		return
	}
	x.stopped = why
	if x.program != nil {
		x.program.stop()
	}
}

// verdict is why the session has ended whose program ended so.
func (x *execution) verdict(how string) (reason, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stopped != "" {
		return x.stopped, fmt.Errorf("program was stopped: %s", how)
	}
	return reason(how), nil
}

// leave takes leave of the client: whoever still holds the connection, having left the program's process group, has nobody to
// talk to any more. What the client sent in vain is taken from the kernel, or closing would break off what it is still to hear
// (RFC 2525, section 2.17).
func (x *execution) leave() {
	x.control(func(fd uintptr) {
		_ = unix.Shutdown(int(fd), unix.SHUT_RDWR) // it fails when the client has gone
		_ = discard(fd, unread(fd))                // as does this
	})
}

// drain implements model: a program is left to finish.
func (x *execution) drain() {}

// nudge implements model: a program keeps what it began with.
func (x *execution) nudge() {}

// expire implements model.
func (x *execution) expire() { x.stop(byDrain) }
