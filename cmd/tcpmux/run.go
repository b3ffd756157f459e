package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/config"
	"tcpmux/daemon"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/processors"
	"tcpmux/daemon/signals"
	"tcpmux/daemon/systemd"
)

// runHelp is the help of run, and its manual page.
const runHelp = `run is the daemon. It stays in the foreground, takes its sockets from systemd or
opens its own, and logs to standard error. Its configuration is /etc/tcpmux.toml
with the drop-ins /etc/tcpmux.d/*.toml, or FILE with FILE.d/*.toml.

SIGTERM and SIGINT drain: no new clients are accepted, everything that has
arrived is recorded, and clients get drain_timeout to finish. So do programs
that serve clients (exec); after that they get SIGTERM, and SIGKILL 3 seconds
later. A second signal ends the daemon at once, with status 1. The same signal
again within 100 ms counts as the first one.

Under systemd, SIGINT, which the unit has it send at a restart, leaves clients to
the next process instead (survive), if systemd stores them for it. Programs
cannot go on in the next process: they get drain_timeout first, and all other
clients are served until the programs have finished.

SIGHUP reloads the configuration under live clients. A configuration with an
error changes nothing. SIGUSR1 makes the daemon close record and log files that
were moved away, and open new ones, as logrotate(8) needs.

A signal that arrives while the daemon starts, or while another program takes
its place, takes effect as soon as possible.

SIGUSR2 upgrades a daemon that runs without systemd: the program that is now
installed takes its place, as the same process, and goes on with listeners and
clients (survive). First, that program has to accept the configuration ("tcpmux
check", within 10 seconds). Then it is tried: as a separate process, it serves
all clients for a second and leaves them again, as at any restart. A program
that does not accept the configuration, ends, or is not ready within 10 seconds
(and one more for each 1,000 clients and listeners) does not take over: the old
one goes on with all clients, and its log says why ("not upgraded"). Fix the
problem and send SIGUSR2 again.

A listener that cannot be served keeps no other from being served: its address
is in use, systemd passed in no socket for it, or its program or rules do not
exist. The problem is logged and shown by "systemctl status", and the daemon
tries again. New clients wait meanwhile.

Clients of the previous process (survive) keep the settings that they began
with. While there are any, an error in the configuration does not keep the
daemon from serving: it uses the configuration that was last in force, and shows
the error.

The daemon uses one processor as long as that is enough. GOMAXPROCS in its
environment limits how many it uses at most.

Exit status: 0 when drained, 1 when it could not serve, 78 when the
configuration has an error, which "tcpmux check" explains. While clients of the
previous process wait, the status is 1 instead of 78, because systemd does not
start a unit again after 78.`

func runCommand(stderr io.Writer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "run [--config FILE]",
		Short: "Serve: greet clients and write down what they send",
		Long:  runHelp,
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

// serve runs the daemon until a signal ends it. path is the configuration file; asked is false if
// it is the default, and may not exist.
func serve(ctx context.Context, path string, asked bool, stderr io.Writer) error {
	impatient := func(s syscall.Signal) {
		fmt.Fprintf(stderr, "tcpmux: second signal (%v): not drained\n", s)
		os.Exit(cli.StatusFailed)
	}
	ctx, stop := cli.UntilSignal(ctx, drainOrRestart, impatient, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	reload := func() (config.Config, error) { return load(path, asked, io.Discard) }
	upgrade := handover.Program{}
	var err error
	if upgrade.Path, err = os.Executable(); err != nil { // before the file is replaced
		return err
	}
	upgrade.Check = func() (config.Config, error) {
		if err := handover.Rehearse(upgrade.Path, checkArgs(path, asked)...); err != nil {
			return config.Config{}, err
		}
		return reload()
	}
	requests, end := onSignals(reload, upgrade)
	defer end()
	requests.Load, requests.Version = reload, cli.Version()
	signals.Deliver()
	go processors.Adapt(ctx)
	return daemon.Run(ctx, func() (config.Config, error) { return loadToStart(path, asked, stderr) }, requests, stderr)
}

// drainOrRestart returns the cause with which a signal ends the daemon. The unit has systemd send
// SIGINT in place of SIGTERM when another process follows (RestartKillSignal=). At a terminal,
// SIGINT is only Ctrl-C.
func drainOrRestart(s cli.SignalError) error {
	if s.Signal == syscall.SIGINT && systemd.Notified() {
		return fmt.Errorf("%w: %w", daemon.ErrRestart, s)
	}
	return s
}
