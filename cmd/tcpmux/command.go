package main

import (
	"os"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/tcpmux/console"
)

// command returns the tree of commands.
func command(stdin, stdout, stderr *os.File) *cobra.Command {
	root := &cobra.Command{
		Use:   "tcpmux [--version]",
		Short: "The TCP front desk of a machine",
		Long: `tcpmux greets every TCP client, serves each one separately and writes down who
sent what. It can also run a program for each client, connect clients with
another server, or offer several services on one port (TCPMUX). The manual page
tcpmux.toml(5) describes the configuration.

Exit status: 0 when done, 1 when it ran and failed, 64 for a usage error, 78 for
an error in the configuration.`,
		Example: `  tcpmux run --config /etc/tcpmux.toml   # the daemon
  tcpmux check                           # is the configuration correct?
  tcpmux connect                         # talk to the daemon of this machine
  tcpmux status                          # what is it doing, and what is wrong?`,
		Args: cli.KnownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(runCommand(stderr), checkCommand(stdin, stdout, stderr), connectCommand(stdin, stdout), benchCommand(),
		verifyCommand(stdin, stdout, stderr), catCommand(stdin, stdout, stderr), portsCommand(stderr))
	steering := console.Console{Stdin: stdin, Stdout: stdout, Stderr: stderr, Otherwise: reloadBySignal}
	root.AddCommand(steering.Commands()...)
	cli.Prepare(root, stdin, stdout, stderr)
	return root
}
