// Command tcpmux is the TCP front desk of a machine: see "tcpmux help".
//
// Its exit status is 0 when done, 1 when it ran and failed, 64 for a usage error, 78 for an error
// in the configuration, and 128 plus the signal's number when a signal or Ctrl-C ended the client.
// What another program might read goes to standard output, and what went wrong to standard error.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/program"
	"tcpmux/daemon/signals"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/worker"
)

// The daemon starts its own executable under other names, for processes with a narrower task.
func main() {
	switch os.Args[0] {
	case program.ExecName:
		signals.Deliver()
		os.Exit(program.Exec(os.Args))
	case handover.TrialName:
		signals.Deliver()
		os.Exit(handover.BecomeTrial(os.Args))
	}
	// A reader that goes away is an error of the write, and never the end of a daemon. SIGPIPE
	// is not ignored: programs that this process starts would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if os.Args[0] == worker.ProcessName {
		os.Exit(worker.Main(os.Args))
	}
	if filepath.Base(os.Args[0]) == generatorName {
		signals.Deliver()
		os.Exit(generate(os.Args[1:], os.Stderr))
	}
	os.Exit(minding(func() int { return run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr) }))
}

// run is the program without the process around it. It returns the exit status.
func run(ctx context.Context, args []string, stdin, stdout, stderr *os.File) int {
	start := func(cmd *cobra.Command) {
		if cmd.Name() != "run" { // which asks for its signals first
			signals.Deliver()
		}
	}
	status := cli.Execute(ctx, command(stdin, stdout, stderr), args, stderr, cli.Hooks{Start: start, Explain: explain})
	// After a usage error, systemd would drop the clients.
	if status == cli.StatusUsage && systemd.Waiting() {
		return cli.StatusFailed
	}
	return status
}
