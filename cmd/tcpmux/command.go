package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
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
		Version:       versionText(),
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableFlagsInUseLine: true,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetVersionTemplate("tcpmux {{.Version}}\n")
	root.SetHelpCommand(helpCommand())
	root.AddCommand(runCommand(stderr), checkCommand(stdin, stdout, stderr), connectCommand(stdin, stdout), benchCommand(),
		verifyCommand(stdin, stdout, stderr), catCommand(stdin, stdout, stderr), portsCommand(stderr), reloadCommand())
	refuseUnknownShells(root)
	return root
}

// knownCommand refuses what no command is called, in cobra's form, and proposes what may have been meant: other programs have
// their version told by a command.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	root.SuggestionsMinimumDistance = 2 // cobra's own
	meant := root.SuggestionsFor(args[0])
	if args[0] == "version" {
		meant = []string{"--version"}
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], root.CommandPath())
	if len(meant) > 0 {
		text += "\n\nDid you mean this?\n\t" + strings.Join(meant, "\n\t")
	}
	return errors.New(text)
}

// helpCommand is cobra's, but for a topic that there is not: that is a usage error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Tell how a command is used",
		Example: "  tcpmux help connect",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return &usageError{fmt.Errorf("no help about %q", strings.Join(args, " "))}
			}
			topic.InitDefaultHelpFlag() // cobra adds it only to a command that is executed
			topic.InitDefaultVersionFlag()
			return topic.Help()
		},
	}
}

// refuseUnknownShells makes cobra's completion command a command that runs: one that does not never looks at its arguments.
func refuseUnknownShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// atMost is cobra.MaximumNArgs in the words of a user.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("unexpected argument %q", args[n])
		}
		return nil
	}
}
