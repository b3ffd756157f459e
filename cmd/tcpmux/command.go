package main

import (
	"os"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
)

// command is the tree of commands.
func command(stdin, stdout, stderr *os.File) *cobra.Command {
	root := &cobra.Command{
		Use:   "tcpmux [--version]",
		Short: "The TCP front desk of a machine",
		Long: `tcpmux greets every TCP client, serves each by itself and writes down who sent what.

Exit status: 0 done, 1 ran and failed, 64 usage, 78 configuration.`,
		Example: `  tcpmux run --config /etc/tcpmux.toml   # the daemon
  tcpmux check                           # is the configuration right?
  tcpmux connect                         # talk to the daemon of this machine`,
		Args: cli.KnownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(runCommand(stderr), checkCommand(stdin, stdout, stderr), connectCommand(stdin, stdout), benchCommand(),
		verifyCommand(stdin, stdout, stderr), catCommand(stdin, stdout, stderr), portsCommand(stderr), reloadCommand())
	cli.Prepare(root, stdin, stdout, stderr)
	return root
}
