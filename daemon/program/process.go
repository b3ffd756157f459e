package program

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/session"
	"tcpmux/daemon/spawn"
)

// process is a program at work for one client: a process, and all that it starts in its process
// group.
type process struct {
	pidfd  *os.File // becomes readable when the process has ended
	stderr *stderrLog
	grace  time.Duration // between SIGTERM and SIGKILL

	mu sync.Mutex
	// And the process group; 0 once the process is reaped, as the kernel may reuse the number.
	pid     int
	stopped session.Reason
	killing *time.Timer
}

// startProcess starts a process that has files as its standard input, output and error. stderr, the
// other end of its standard error, belongs to the process if that has started.
func startProcess(spec *Spec, env []string, files []uintptr, stderr *stderrLog, grace time.Duration) (*process, error) {
	if spec.err != nil {
		return nil, spec.err
	}
	pid, pidfd := 0, -1
	var err error
	spawn.OnLastingThread(func() {
		pid, _, err = syscall.StartProcess(spec.path, spec.argv, &syscall.ProcAttr{
			Dir:   "/",
			Env:   env,
			Files: files,
			Sys:   &syscall.SysProcAttr{Setsid: true, Credential: spec.credential, PidFD: &pidfd},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("start %q: %w%s", spec.program, err, startHint(err))
	}
	p := &process{pid: pid, stderr: stderr, grace: grace}
	if err := p.watch(pidfd); err != nil {
		p.signal(unix.SIGKILL)
		_ = p.reap() // it was killed: how it ended tells nothing
		return nil, err
	}
	go stderr.run()
	return p, nil
}

// startHint names the next step when a program that exists cannot be started.
func startHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return " (it has gone, or the interpreter that its first line names is not there)"
	case errors.Is(err, unix.ENOEXEC):
		return " (it is no program of this machine; a script begins with #! and its interpreter)"
	case errors.Is(err, unix.EAGAIN):
		return " (too many processes: see TasksMax= of the unit and ulimit -u)"
	}
	return ""
}

// watch puts the process's pidfd into Go's poller, so that waiting for its end takes no thread.
func (p *process) watch(pidfd int) error {
	if pidfd < 0 {
		return errors.New("exec needs Linux 5.4 or later (pidfd)")
	}
	err := unix.SetNonblock(pidfd, true)
	p.pidfd = os.NewFile(uintptr(pidfd), "program")
	return os.NewSyscallError("fcntl", err)
}

// wait returns when the process has ended, with how: "exit N" or "signal N". By then whatever was
// left in its process group is killed, and what was written to its standard error is in the log.
func (p *process) wait() string {
	raw, err := p.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool { return hasEnded(int(fd)) })
	}
	if err != nil { // then only reap can wait for it
		p.signal(unix.SIGKILL)
	}
	how := p.reap()
	_ = p.pidfd.Close() // nothing was written
	p.stderr.end()
	return how
}

// hasEnded reports whether a process has ended. It does not reap the process, which so keeps its
// number.
func hasEnded(pidfd int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil && err != unix.EINTR || info.Signo != 0
}

// reap kills the process group, waits for the process, and returns how it ended.
func (p *process) reap() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	// While the number is ours; the process itself has ended.
	_ = unix.Kill(-p.pid, unix.SIGKILL)
	if p.killing != nil {
		p.killing.Stop()
	}
	var status syscall.WaitStatus
	_, err := syscall.Wait4(p.pid, &status, 0, nil)
	for err == syscall.EINTR {
		_, err = syscall.Wait4(p.pid, &status, 0, nil)
	}
	p.pid = 0
	switch {
	case err != nil:
		return "exit unknown"
	case status.Signaled():
		return fmt.Sprintf("signal %d", status.Signal())
	}
	return fmt.Sprintf("exit %d", status.ExitStatus())
}

// signal sends a signal to the process group.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 {
		_ = unix.Kill(-p.pid, s) // it fails when all have ended
	}
}

// stop tells the process group to end, and kills it after the grace. The reason of the first call
// stays; later calls do nothing.
func (p *process) stop(why session.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != "" {
		return
	}
	p.stopped = why
	if p.pid != 0 {
		_ = unix.Kill(-p.pid, unix.SIGTERM) // it fails when all have ended
		p.killing = time.AfterFunc(p.grace, func() { p.signal(unix.SIGKILL) })
	}
}

// isStopped reports whether stop was called.
func (p *process) isStopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped != ""
}

// reason returns why a session ends whose process has ended in a way that wait has returned.
func (p *process) reason(how string) (session.Reason, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != "" {
		return p.stopped, fmt.Errorf("program was stopped: %s", how)
	}
	return session.Reason(how), nil
}

// newPipe makes a pipe between a program and the daemon: the program's end blocks, the daemon's end
// waits in Go's poller. With reading, the daemon's end is the one that reads.
func newPipe(name string, reading bool) (ours, theirs *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	our, their := fds[1], fds[0]
	if reading {
		our, their = their, our
	}
	err = unix.SetNonblock(our, true)
	ours, theirs = os.NewFile(uintptr(our), name), os.NewFile(uintptr(their), name)
	if err != nil {
		_, _ = ours.Close(), theirs.Close() // nothing was written
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return ours, theirs, nil
}
