package handover

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/systemd"
)

const (
	// trialTimeout bounds how long a program that is tried may take until it serves, and,
	// beyond drain_timeout, to leave its clients again. It may take trialTimeoutEach longer for
	// each client and each listener: on a busy machine that is ten times what they need.
	trialTimeout     = 10 * time.Second
	trialTimeoutEach = time.Millisecond
	// trialService is how long it then serves: so no client waits for two programs in a row,
	// and a program that cannot stand what clients send is found out.
	trialService = time.Second
)

// try has the program show that it can take our place: as a process of its own, which goes on
// with all clients until it is ready, and then leaves them again as at any restart. It is the
// ordinary daemon and we are its service manager, so that nothing in it is only for trials.
// Whatever keeps it from serving here shows while we can still go back: after execve(2) nothing
// is left of us. A program that fails is killed, and costs no more than a crash. When try
// returns, no process of the trial is left.
func (t *Takeover) try(ctx context.Context) error {
	inbox, err := systemd.NewInbox()
	if err != nil {
		return err
	}
	defer inbox.Close()
	defer systemd.Feed()()
	debug.FreeOSMemory()   // of our sessions: the memory may not be enough for those of two
	runtime.LockOSThread() // the trial ends with the thread that has started it
	defer runtime.UnlockOSThread()
	p, err := startTrial(t.program.Path, t.files, inbox)
	if err != nil {
		return err
	}
	if err := p.begins(ctx, inbox.Ready(p.pid), t.timeout()); err != nil {
		return err
	}
	if err := p.serves(ctx); err != nil {
		return err
	}
	return p.leaves(t.next.DrainTimeout + t.timeout())
}

// timeout returns how long the program may take, in whole seconds.
func (t *Takeover) timeout() time.Duration {
	return (trialTimeout + time.Duration(t.clients+len(t.files))*trialTimeoutEach).Truncate(time.Second)
}

// trial is a program that is tried, and all that it starts in its process group.
type trial struct {
	program string
	pid     int
	ended   chan struct{} // closed when the process has ended; it is reaped by end
}

// startTrial starts a program with our arguments. It dies with the thread that calls this: two
// programs must not go on.
func startTrial(program string, files []systemd.Socket, inbox *systemd.Inbox) (*trial, error) {
	// The processes of its clients (model = "process") are ours to wait for when it has died
	// before them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	passed := []uintptr{os.Stdin.Fd(), os.Stdout.Fd(), os.Stderr.Fd()}
	for _, s := range files {
		passed = append(passed, s.File.Fd())
	}
	args := append([]string{TrialName, strconv.Itoa(os.Getpid()), program}, os.Args...)
	pid, _, err := syscall.StartProcess("/proc/self/exe", args, &syscall.ProcAttr{
		Env:   inbox.Environ(files),
		Files: passed,
		Sys:   &syscall.SysProcAttr{Setpgid: true}, // what a terminal sends is for us
	})
	runtime.KeepAlive(files)
	if err != nil {
		return nil, fmt.Errorf("try %q: %w", program, err)
	}
	p := &trial{program: program, pid: pid, ended: make(chan struct{})}
	go p.watch()
	return p, nil
}

// watch returns when the process has ended. That does not reap it, so its number, and that of its
// group, stays its own.
func (p *trial) watch() {
	defer close(p.ended)
	for unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// begins returns nil once the program is ready. After an error from this or the next methods
// nothing of it is left.
func (p *trial) begins(ctx context.Context, ready <-chan struct{}, timeout time.Duration) error {
	select {
	case <-ready:
		return nil
	case <-p.ended:
		return p.fault("it ended before it was ready: " + p.end())
	case <-time.After(timeout):
		p.end()
		return p.fault(fmt.Sprintf("it was not ready within %v", timeout))
	case <-ctx.Done():
		p.end()
		return context.Cause(ctx)
	}
}

// serves lets it serve for trialService, or until ctx is done: then it has to leave its clients
// in order all the same.
func (p *trial) serves(ctx context.Context) error {
	select {
	case <-p.ended:
		return p.fault("it ended while it served: " + p.end())
	case <-time.After(trialService):
	case <-ctx.Done():
	}
	return nil
}

// leaves has it leave its clients to us, and end.
func (p *trial) leaves(timeout time.Duration) error {
	// As when another process follows; an error shows as its end.
	_ = unix.Kill(p.pid, unix.SIGINT)
	select {
	case <-p.ended:
	case <-time.After(timeout):
	}
	if how := p.end(); how != "exit 0" {
		return p.fault("it was ready and did not leave its clients in order: " + how)
	}
	return nil
}

// fault returns the error of a trial that has failed, with the next step.
func (p *trial) fault(what string) error {
	return fmt.Errorf("try %q: %s (what it said is above; the daemon before goes on, and SIGUSR2 tries again)", p.program, what)
}

// end kills what is left, and returns how the process has ended: "exit N" or "signal N".
func (p *trial) end() (how string) {
	_ = unix.Kill(-p.pid, unix.SIGKILL) // the process itself is there until it is reaped
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-p.pid, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // ECHILD: all are gone
			// It matters to no process any more.
			_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
			return how
		case pid == p.pid && status.Signaled():
			how = fmt.Sprintf("signal %d", status.Signal())
		case pid == p.pid:
			how = fmt.Sprintf("exit %d", status.ExitStatus())
		}
	}
}
