package handover

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"tcpmux/daemon/signals"
	"tcpmux/daemon/systemd"
)

// rehearsalTimeout bounds how long a program may take to show that it starts and takes the
// configuration.
const rehearsalTimeout = 10 * time.Second

// Rehearse runs a program with arguments by which it checks the configuration. It returns nil
// when the program has ended with status 0 within 10 seconds, and else what it has said.
func Rehearse(program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), rehearsalTimeout)
	defer cancel()
	runtime.LockOSThread() // it stays our child
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("start %q: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Execute has the program take our place, as the same process (execve(2)), once it has shown in a
// trial that it can. It returns only when the program could not, and says why: then we go on,
// with Sockets. When ctx is done that is its cause.
func (t *Takeover) Execute(ctx context.Context) error {
	came := notifyUntilExec()
	defer signal.Stop(came)
	program := t.program.Path
	tried, err := os.Stat(program)
	if err == nil && ctx.Err() == nil { // a stop is not made to wait for a trial
		err = t.try(ctx)
	}
	if err := cmp.Or(err, context.Cause(ctx)); err != nil {
		return err
	}
	if now, err := os.Stat(program); err != nil || !os.SameFile(tried, now) {
		return fmt.Errorf("try %q: another one was installed meanwhile (SIGUSR2 tries that)", program)
	}
	assignment, err := systemd.Bequeath(t.files)
	if err != nil {
		return err
	}
	return signals.Exec(program, os.Args, append(os.Environ(), assignment), came)
}

// notifyUntilExec returns a channel for signals.Exec.
func notifyUntilExec() chan os.Signal {
	came := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(came, s)
		}
	}
	return came
}
