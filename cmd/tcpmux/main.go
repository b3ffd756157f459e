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

	"tcpmux/daemon"
	"tcpmux/daemon/signals"
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

// run is the whole program but for the process around it: it returns the exit status.
func run(ctx context.Context, args []string, stdin, stdout, stderr *os.File) int {
	root := command(stdin, stdout, stderr)
	root.SetArgs(append([]string{}, args...)) // never nil: cobra would take os.Args
	started := false
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		started = true
		if cmd.Name() != "run" { // it has to ask for its signals first
			signals.Deliver()
		}
	}
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		signals.Deliver()
		help(cmd, args)
	})
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !started {
		err = &usageError{err} // cobra's complaints have no type of their own
	}
	return report(stderr, cmd.CommandPath(), err)
}
