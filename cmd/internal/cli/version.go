package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X tcpmux/cmd/internal/cli.version=…".
var version string

// Version is the version of this program: the one that the build set, otherwise what Go knows about
// the module and its commit.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// showVersion gives root the flag --version. It is not cobra's: that prints another text unless it
// gets a template, and with text/template the linker keeps every exported method of everything, a
// megabyte of them.
func showVersion(root *cobra.Command) {
	show := root.Flags().BoolP("version", "v", false, "version for "+root.Name())
	args, run := root.Args, root.RunE
	root.Args = func(cmd *cobra.Command, given []string) error {
		if *show || args == nil {
			return nil
		}
		return args(cmd, given)
	}
	root.RunE = func(cmd *cobra.Command, given []string) error {
		if *show {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", root.Name(), Version())
			return OutputError(err)
		}
		return run(cmd, given)
	}
}
