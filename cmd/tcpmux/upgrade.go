package main

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

	"tcpmux/daemon"
	"tcpmux/daemon/signals"
	"tcpmux/daemon/systemd"
)

// rehearsal is how long a program may take to show that it starts and takes the configuration.
const rehearsal = 10 * time.Second

// rehearse has the program that is installed now check the configuration.
func rehearse(program, path string, asked bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), rehearsal)
	defer cancel()
	args := []string{"check", "--quiet"}
	if asked {
		args = append(args, "--config", path)
	}
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

// succeed has the program take our place once it has shown that it can. It returns only when it could not, and why.
func succeed(ctx context.Context, program string, b *daemon.Bequest) error {
	came := untilExec()
	defer signal.Stop(came)
	tried, err := os.Stat(program)
	if err == nil && ctx.Err() == nil { // who is to stop begins nothing
		err = try(ctx, program, b)
	}
	if err := cmp.Or(err, context.Cause(ctx)); err != nil {
		return err
	}
	if now, err := os.Stat(program); err != nil || !os.SameFile(tried, now) {
		return fmt.Errorf("try %q: another one was installed meanwhile (SIGUSR2 tries that)", program)
	}
	assignment, err := systemd.Bequeath(b.Files)
	if err != nil {
		return err
	}
	return signals.Exec(program, os.Args, append(os.Environ(), assignment), came)
}

// untilExec returns a channel for signals.Exec.
func untilExec() chan os.Signal {
	came := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(came, s)
		}
	}
	return came
}
