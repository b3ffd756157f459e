package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"tcpmux/cmd/tcpmux/console"
	"tcpmux/daemon"
)

// reloadBySignal is the way of ExecReload= of the unit to reload a daemon that has no control
// socket: it finds the daemon by $MAINPID and $RUNTIME_DIRECTORY. known is false if systemd has not
// called the command.
func reloadBySignal(ctx context.Context) (known bool, err error) {
	text, known := os.LookupEnv("MAINPID")
	if !known {
		return false, nil
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return true, fmt.Errorf("MAINPID is %q: want the process of the daemon, as systemctl reload tcpmux sets it", text)
	}
	return true, reload(ctx, pid, os.Getenv("RUNTIME_DIRECTORY"))
}

// reload makes a daemon reload, and returns nil once it has, or why it has not. The timeout of the
// service manager bounds it.
func reload(ctx context.Context, pid int, dir string) error {
	before, err := daemon.ReadReloads(dir)
	if err := os.NewSyscallError("kill", syscall.Kill(pid, syscall.SIGHUP)); err != nil {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) { // an older version, which does not answer
		return nil
	}
	for err == nil {
		var now daemon.Reloads
		now, err = daemon.ReadReloads(dir)
		switch {
		case err != nil:
		// A daemon that has started since has read the file.
		case now.Start != before.Start || now.Ended > before.Begun:
			return console.NotReloaded(now.Faults)
		case syscall.Kill(pid, 0) != nil:
			return errors.New("configuration not reloaded: the daemon has ended")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("configuration not reloaded: the daemon's answer cannot be read: %w", err)
}
