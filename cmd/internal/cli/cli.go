// Package cli holds what the commands of this project have in common: exit statuses, one place that
// prints errors, signals that end a command, and the shape of help. A command builds its cobra tree
// and calls Execute.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Prepare gives root the version, the standard streams, and, if it has commands, the help command.
// Call it after the last AddCommand.
func Prepare(root *cobra.Command, stdin, stdout, stderr *os.File) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.DisableFlagsInUseLine = true
	showVersion(root)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if root.HasSubCommands() {
		root.SetHelpCommand(helpCommand(root.Name()))
		refuseUnknownShells(root)
	}
}

// Hooks let a program take part in Execute. The zero value does nothing.
type Hooks struct {
	// Start is called once, before the command that was asked for does its work, or before its
	// help is printed.
	Start func(cmd *cobra.Command)
	// Explain returns what to print for an error that the program knows better, and its exit
	// status; known is false for others.
	Explain func(err error) (text string, status int, known bool)
}

// Execute runs the command that args name and returns the exit status of the process. It prints the
// error, if there is one, on standard error.
func Execute(ctx context.Context, root *cobra.Command, args []string, stderr *os.File, hooks Hooks) int {
	root.SetArgs(append([]string{}, args...)) // never nil: cobra would take os.Args
	started := false
	start := func(cmd *cobra.Command) {
		if !started && hooks.Start != nil {
			hooks.Start(cmd)
		}
		started = true
	}
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { start(cmd) }
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		start(cmd)
		help(cmd, args)
	})
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !started {
		err = &UsageError{err} // cobra's errors have no type of their own
	}
	return report(stderr, root.Name(), helpFor(cmd), err, hooks.Explain)
}

// KnownCommand is the Args of a root command that does nothing by itself: it refuses unknown
// commands and suggests similar ones.
func KnownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	root.SuggestionsMinimumDistance = 2 // cobra's default
	meant := root.SuggestionsFor(args[0])
	if args[0] == "version" {
		meant = []string{"--version"}
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], root.CommandPath())
	if len(meant) > 0 {
		text += suggestionHead + strings.Join(meant, "\n\t")
	}
	return errors.New(text)
}

// suggestionHead separates cobra's complaint from the commands it suggests.
const suggestionHead = "\n\nDid you mean this?\n\t"

// AtMost is cobra.MaximumNArgs with an error that names the surplus argument.
func AtMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("unexpected argument %q", args[n])
		}
		return nil
	}
}

// helpCommand is cobra's, except that an unknown topic is a usage error.
func helpCommand(program string) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show how a command is used",
		Example: "  " + program + " help completion",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return &UsageError{fmt.Errorf("no help about %q", strings.Join(args, " "))}
			}
			// Cobra adds it only to a command that is executed.
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// helpFor is the command line that shows the help of cmd, such as "tcpmux help run".
func helpFor(cmd *cobra.Command) string {
	root := cmd.Root()
	switch {
	case !root.HasSubCommands():
		return root.Name() + " --help"
	case cmd == root || cmd.Name() == "help":
		return root.Name() + " help"
	}
	program, command, _ := strings.Cut(cmd.CommandPath(), " ")
	return program + " help " + command
}

// refuseUnknownShells makes cobra's completion command runnable: cobra does not check the arguments
// of one that is not.
func refuseUnknownShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}
