package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"tcpmux/daemon"
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

// stopVariable tells the program that takes our place that it was to stop, when it is set.
const stopVariable = "TCPMUX_STOP"

// stopIfAsked stops a program that took the place of one which was told to stop in that moment.
func stopIfAsked() {
	if os.Getenv(stopVariable) == "" {
		return
	}
	_ = os.Unsetenv(stopVariable)                  // it fails for names that are none
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM) // it fails for others' processes
}

// succeed has the program take our place, or, when it cannot after all, our own once more. It returns only on an error.
func succeed(ctx context.Context, b *daemon.Bequest, program string) error {
	assignment, err := systemd.Bequeath(b.Files)
	if err != nil {
		return err
	}
	env := append(os.Environ(), assignment)
	if ctx.Err() != nil {
		env = append(env, stopVariable+"=1")
	}
	return errors.Join(
		os.NewSyscallError("execve", syscall.Exec(program, os.Args, env)),
		os.NewSyscallError("execve", syscall.Exec("/proc/self/exe", os.Args, env)))
}
