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

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/daemon"
)

// reloadCommand is for ExecReload= of the unit and not for people: it finds the daemon by $MAINPID
// and $RUNTIME_DIRECTORY.
func reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "reload",
		Short:  "Make the daemon reload its configuration, and fail if it does not (tcpmux.service)",
		Hidden: true,
		Args:   cli.AtMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			pid, err := strconv.Atoi(os.Getenv("MAINPID"))
			if err != nil || pid <= 0 {
				return fmt.Errorf("MAINPID is %q: this command is for systemd, use systemctl reload tcpmux", os.Getenv("MAINPID"))
			}
			return reload(cmd.Context(), pid, os.Getenv("RUNTIME_DIRECTORY"))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
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
			return notReloaded(now.Faults)
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

// notReloaded returns the error of a reload with faults; nil if there are none.
func notReloaded(faults []string) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("configuration not reloaded: %s", faults[0])
	}
	return fmt.Errorf("configuration not reloaded: %s (and %d more)", faults[0], len(faults)-1)
}
