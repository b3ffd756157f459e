package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/config"
	"tcpmux/daemon"
	"tcpmux/daemon/signals"
	"tcpmux/daemon/systemd"
)

func runCommand(stderr io.Writer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "run [--config FILE]",
		Short: "Serve: greet clients and write down what they send",
		Long: `run is the daemon. It stays in the foreground, takes its sockets from systemd or binds its own, and logs to standard error.

SIGTERM and SIGINT drain: no new clients are let in, what has arrived is recorded, and clients get drain_timeout to finish;
programs that serve clients (exec) too, and then SIGTERM and 3 seconds later SIGKILL. Under systemd SIGINT, which the unit has it
send at a restart, leaves clients to the next process instead (survive), where systemd stores them for it. Programs, which
cannot go on, get drain_timeout then too, and everybody else is served until they have finished. A second signal ends it at once,
with status 1; the same one again within 100 ms is still the first. SIGHUP reads the configuration anew, under live clients; one with a fault changes nothing. SIGUSR1 has it let go of
record and log files that were moved away, and make them anew, as logrotate(8) needs.

A signal that comes while it starts, or while another program takes its place, is obeyed once it can be.

SIGUSR2 is for those who run it without systemd: the program that is now installed takes the place of this one, as the same
process, and goes on with listeners and clients (survive). It has to take the configuration first ("tcpmux check", within 10
seconds). Then it is tried: it serves all clients for a second as a process of its own, and leaves them again, as at any restart.
One that does not take the configuration, ends, or is not ready within 10 seconds is not taken: this one goes on with all clients,
and the log says why ("not upgraded"). Mend it and send SIGUSR2 again.

A listener that cannot be served, as its address is in use, systemd passed in no socket for it, or its program or rules are not
there, keeps no other from being served. It is logged, shown by "systemctl status" and tried again; new clients wait for it.

Clients of the process before (survive) keep the settings that they began with. While there are any, a configuration with a fault
does not keep it from serving: it goes on with the one that was in force, and shows the fault.

Exit status: 0 when drained, 1 when it could not serve, 78 when the configuration is not right: "tcpmux check" tells more. That
is 1 too while clients of the process before wait, for the sake of units that are not started again after 78.`,
		Example: `  tcpmux run                              # as in /etc/tcpmux.toml
  tcpmux run --config ./tcpmux.toml       # records go where [record] file says
  systemctl start tcpmux.socket           # what the package does instead`,
		Args: cli.AtMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), path, cmd.Flags().Changed("config"), stderr)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	configFlag(cmd, &path)
	return cmd
}

// serve is the daemon from its configuration to the end of its drain.
func serve(ctx context.Context, path string, asked bool, stderr io.Writer) error {
	impatient := func(s syscall.Signal) {
		fmt.Fprintf(stderr, "tcpmux: second signal (%v): not drained\n", s)
		os.Exit(cli.StatusFailed)
	}
	ctx, stop := cli.UntilSignal(ctx, drainOrRestart, impatient, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	again := func() (config.Config, error) { return load(path, asked, io.Discard) }
	program, err := os.Executable() // before it is replaced
	if err != nil {
		return err
	}
	wishes, unhook := onSignals(again, func() (config.Config, error) {
		if err := rehearse(program, path, asked); err != nil {
			return config.Config{}, err
		}
		return again()
	})
	defer unhook()
	signals.Deliver()
	err = daemon.Run(ctx, func() (config.Config, error) {
		cfg, err := loadToStart(path, asked, stderr)
		if err == nil && cfg.Path == "" {
			fmt.Fprintf(stderr, "%s: there is no such file; the built-in defaults hold\n", path)
		}
		return cfg, err
	}, wishes, stderr)
	for {
		b, ok := errors.AsType[*daemon.Bequest](err)
		if !ok {
			return err
		}
		err = b.Resume(ctx, succeed(ctx, program, b), wishes, stderr)
	}
}

// drainOrRestart returns the cause with which a signal ends the daemon. The unit has systemd send SIGINT in place of SIGTERM when
// another process follows (RestartKillSignal=). At a terminal SIGINT is no more than Ctrl-C.
func drainOrRestart(s cli.SignalError) error {
	if s.Signal == syscall.SIGINT && systemd.Notified() {
		return fmt.Errorf("%w: %w", daemon.ErrRestart, s)
	}
	return s
}
