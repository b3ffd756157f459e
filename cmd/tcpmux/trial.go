package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/cmd/internal/cli"
	"tcpmux/daemon"
	"tcpmux/daemon/systemd"
)

const (
	// trialTime is how long a program that is tried may take until it serves, and, beyond drain_timeout, to leave its clients again.
	trialTime = 10 * time.Second
	// trialService is how long it then serves: so no client waits for two programs in a row, and one that does not stand what clients
	// say is found out.
	trialService = time.Second
)

// try has the program show that it can take our place: as a process of its own, which goes on with all clients until it is ready, and
// then leaves them again as at any restart. It is the ordinary daemon, and we its service manager, so that nothing of it is only for
// trials: whatever keeps it from serving here shows, and only we can go back, as after execve(2) nothing of us is left. One that
// fails is killed, and costs no more than a crash. When it returns, no process of the trial is left.
func try(ctx context.Context, program string, b *daemon.Bequest) error {
	inbox, err := systemd.NewInbox()
	if err != nil {
		return err
	}
	defer inbox.Close()
	defer systemd.Feed()()
	debug.FreeOSMemory()   // of our sessions: there may be no room for those of two
	runtime.LockOSThread() // the trial ends with the thread that has started it
	defer runtime.UnlockOSThread()
	t, err := startTrial(program, b.Files, inbox)
	if err != nil {
		return err
	}
	if err := t.begins(ctx, inbox.Ready(t.pid)); err != nil {
		return err
	}
	if err := t.serves(ctx); err != nil {
		return err
	}
	return t.leaves(b.Next.DrainTimeout + trialTime)
}

// begins returns nil once the program is ready. After an error, and so with the others, nothing of it is left.
func (t *trial) begins(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-t.ended:
		return t.fault("it ended before it was ready: " + t.end())
	case <-time.After(trialTime):
		t.end()
		return t.fault(fmt.Sprintf("it was not ready within %v", trialTime))
	case <-ctx.Done():
		t.end()
		return context.Cause(ctx)
	}
}

// serves lets it serve for trialService, or until ctx is done: then it has to leave its clients in order all the same.
func (t *trial) serves(ctx context.Context) error {
	select {
	case <-t.ended:
		return t.fault("it ended while it served: " + t.end())
	case <-time.After(trialService):
	case <-ctx.Done():
	}
	return nil
}

// leaves has it leave its clients to us, and end.
func (t *trial) leaves(within time.Duration) error {
	_ = unix.Kill(t.pid, unix.SIGINT) // another process follows; it fails when it has ended, and that shows
	select {
	case <-t.ended:
	case <-time.After(within):
	}
	if how := t.end(); how != "exit 0" {
		return t.fault("it was ready and did not leave its clients in order: " + how)
	}
	return nil
}

// fault is the error of a trial that has failed, with the next step.
func (t *trial) fault(what string) error {
	return fmt.Errorf("try %q: %s (what it said is above; the daemon before goes on, and SIGUSR2 tries again)", t.program, what)
}

// trial is a program that is tried, and all that it starts in its process group.
type trial struct {
	program string
	pid     int
	ended   chan struct{} // closed when the process has ended; it is reaped by end
}

// startTrial starts a program with our arguments. It dies with the thread that calls this, as two that go on would be one too many.
func startTrial(program string, files []systemd.Socket, inbox *systemd.Inbox) (*trial, error) {
	// The processes of its clients (model = "process") are ours to wait for when it has died before them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	passed := []uintptr{os.Stdin.Fd(), os.Stdout.Fd(), os.Stderr.Fd()}
	for _, s := range files {
		passed = append(passed, s.File.Fd())
	}
	args := append([]string{trialName, strconv.Itoa(os.Getpid()), program}, os.Args...)
	pid, _, err := syscall.StartProcess("/proc/self/exe", args, &syscall.ProcAttr{
		Env:   inbox.Environ(files),
		Files: passed,
		Sys:   &syscall.SysProcAttr{Setpgid: true}, // what a terminal sends is for us
	})
	runtime.KeepAlive(files)
	if err != nil {
		return nil, fmt.Errorf("try %q: %w", program, err)
	}
	t := &trial{program: program, pid: pid, ended: make(chan struct{})}
	go t.watch()
	return t, nil
}

// watch returns when the process has ended. It is not reaped by that, so its number, and that of its group, stays its own.
func (t *trial) watch() {
	defer close(t.ended)
	for unix.Waitid(unix.P_PID, t.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// end kills what is left, and returns how the process has ended: "exit N" or "signal N".
func (t *trial) end() (how string) {
	_ = unix.Kill(-t.pid, unix.SIGKILL) // the process itself is there until it is reaped
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-t.pid, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // ECHILD: there is none any more
			_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) // nobody is left that it could matter to
			return how
		case pid == t.pid && status.Signaled():
			how = fmt.Sprintf("signal %d", status.Signal())
		case pid == t.pid:
			how = fmt.Sprintf("exit %d", status.ExitStatus())
		}
	}
}

// trialName is the argv[0] of a process that is about to become a program which is tried: whoever is started under it calls
// becomeTrial and nothing else.
const trialName = "tcpmux: trial"

// becomeTrial becomes the program of args: trialName, the process that has started us, the program, and its arguments from argv[0] on.
// It says what only the process itself knows. It returns only when it cannot, with the exit status.
func becomeTrial(args []string) int {
	if len(args) < 4 {
		return cli.StatusUsage
	}
	runtime.LockOSThread() // whose end follows from whose is a matter of threads
	err := os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0))
	if err == nil && args[1] != strconv.Itoa(os.Getppid()) {
		return cli.StatusFailed // it has died already
	}
	// A shell has its background jobs ignore it, and it is how the trial is told to leave.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT)
	if err == nil {
		err = os.NewSyscallError("execve", unix.Exec(args[2], args[3:], systemd.Claim()))
	}
	fmt.Fprintf(os.Stderr, "try %q: %v\n", args[2], err)
	return cli.StatusFailed
}
