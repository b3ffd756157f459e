package daemon

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// program is a program of the user's at work for one client: a process, and all that it starts in its process group.
type program struct {
	pidfd  *os.File // becomes readable when the process has ended
	stderr *overheard
	grace  time.Duration // between telling it to end and killing it

	mu      sync.Mutex
	pid     int // and the process group; 0 once the process is reaped, as the number may then be another's
	killing *time.Timer
}

// startProgram runs the program of a session's listener.
func startProgram(s *session, env []string, stdin, stdout int) (*program, error) {
	l := s.settings.launch
	if l.err != nil {
		return nil, l.err
	}
	theirs, heard, err := overhear(s)
	if err != nil {
		return nil, err
	}
	defer theirs.Close() // the program has its own
	pidfd := -1
	pid := 0
	onLastingThread(func() {
		pid, _, err = syscall.StartProcess(l.path, l.argv, &syscall.ProcAttr{
			Dir:   "/",
			Env:   env,
			Files: []uintptr{uintptr(stdin), uintptr(stdout), theirs.Fd()},
			Sys:   &syscall.SysProcAttr{Setsid: true, Credential: l.credential, PidFD: &pidfd},
		})
	})
	if err != nil {
		heard.discard()
		return nil, fmt.Errorf("start %q: %w%s", l.program, err, startHint(err))
	}
	go heard.run()
	p := &program{stderr: heard, pid: pid, grace: s.server.stopGrace}
	if err := p.watch(pidfd); err != nil {
		p.signal(unix.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil) // how it ended is our doing
		heard.end()
		return nil, err
	}
	return p, nil
}

// startHint names the next step when a program that is there cannot be started.
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

// watch makes the end of the process something to wait for without a thread.
func (p *program) watch(pidfd int) error {
	if pidfd < 0 {
		return errors.New("exec needs Linux 5.4 or later (pidfd)")
	}
	err := unix.SetNonblock(pidfd, true)
	p.pidfd = os.NewFile(uintptr(pidfd), "program")
	return os.NewSyscallError("fcntl", err)
}

// wait returns when the process has ended, with how: "exit N" or "signal N". Whatever is left in its process group is killed,
// and what the program has written to its standard error is in the log.
func (p *program) wait() string {
	raw, err := p.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool { return ended(int(fd)) })
	}
	if err != nil { // it cannot be waited for otherwise than here
		p.signal(unix.SIGKILL)
	}
	how := p.reap()
	_ = p.pidfd.Close() // nothing was written
	p.stderr.end()
	return how
}

// ended says whether a process has ended. It is not reaped by that, so its number stays its own.
func ended(pidfd int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil && err != unix.EINTR || info.Signo != 0
}

// reap kills the process group, takes the process off the kernel's list, and says how it ended.
func (p *program) reap() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Kill(-p.pid, unix.SIGKILL) // while the number is ours; the process itself has ended
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
func (p *program) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 {
		_ = unix.Kill(-p.pid, s) // it fails when all have ended
	}
}

// stop tells the process group to end, and kills it when it has not by then. It may be called again.
func (p *program) stop() {
	p.signal(unix.SIGTERM)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 && p.killing == nil {
		p.killing = time.AfterFunc(p.grace, func() { p.signal(unix.SIGKILL) })
	}
}

// programPipe makes a pipe between a program and us: their end blocks, ours waits in Go's poller. ours is 0 where we read, 1 where
// we write.
func programPipe(ours int, name string) (us, them *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	them = os.NewFile(uintptr(fds[1-ours]), name)
	err = unix.SetNonblock(fds[ours], true)
	us = os.NewFile(uintptr(fds[ours]), name)
	if err != nil {
		_, _ = us.Close(), them.Close() // nothing was written
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return us, them, nil
}
