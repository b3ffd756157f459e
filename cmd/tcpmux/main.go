// Command tcpmux is the TCP front desk of a machine: see "tcpmux help".
//
// Its exit status: 0 done, 1 ran and failed, 64 usage, 78 configuration, 128 and the signal's number when a signal or Ctrl-C
// ended the client. What a program might read goes to standard output, what went wrong to standard error.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/daemon"
	"tcpmux/daemon/signals"
	"tcpmux/daemon/systemd"
)

func main() {
	if os.Args[0] == daemon.StarterName {
		signals.Deliver()
		os.Exit(daemon.Start(os.Args))
	}
	if os.Args[0] == trialName {
		signals.Deliver()
		os.Exit(becomeTrial(os.Args))
	}
	// A reader that goes away is an error of the write, told or not by whoever wrote, and never the end of a daemon. Not Ignore:
	// the programs that we start would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if os.Args[0] == daemon.ChildName {
		os.Exit(daemon.Child(os.Args))
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
		if cmd.Name() != "run" { // it has to ask for its signals first
			signals.Deliver()
		}
	}
	status := cli.Execute(ctx, command(stdin, stdout, stderr), args, stderr, cli.Hooks{Start: start, Explain: explain})
	if status == cli.StatusUsage && systemd.Waiting() { // systemd would drop the clients after this one
		return cli.StatusFailed
	}
	return status
}
