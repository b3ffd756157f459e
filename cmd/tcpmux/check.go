package main

import (
	"fmt"
	"io"

	"tcpmux/cmd/internal/cli"

	"github.com/spf13/cobra"

	"tcpmux/config"
)

func checkCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var path string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "check [--config FILE | FILE | -]",
		Short: "Tell every fault of a configuration at once",
		Long: `check reads a configuration as the daemon would.

Every fault is told on standard error, one a line, with its file, line, key and value and what is allowed; the exit status
is then 78. Of more than 100 the others are counted. The file - is standard input. A file without a fault is printed as it will be in effect, with every default filled in, unless --quiet is given.

A program that a listener runs (exec) and its user (exec_user) must be there; a script without its interpreter is warned of. Whether that user may execute it is found out by the
daemon when it starts or reloads: it may be allowed less than you.

Warnings are about what is allowed and most likely a mistake, such as a record file in a directory that there is not, or a key
that has no effect beside the others; they change nothing about the exit status. A relative file is looked for below
$LOGS_DIRECTORY or the working directory, as by the daemon: under systemd that is /var/log/tcpmux.`,
		Example: `  tcpmux check                              # /etc/tcpmux.toml
  tcpmux check new.toml && sudo install -m 0644 new.toml /etc/tcpmux.toml
  tcpmux check new.toml > effective.toml    # with every default filled in
  ssh host cat /etc/tcpmux.toml | tcpmux check -q -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.Flags().Changed("config") {
				return fmt.Errorf("argument %q beside --config, want one file", args[0])
			}
			return cli.AtMost(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				path = args[0]
			}
			asked := len(args) > 0 || cmd.Flags().Changed("config")
			if quiet {
				stdout = nil
			}
			cfg, err := loadOrRead(stdin, path, asked, stderr)
			if err != nil {
				return err
			}
			return check(cfg, path, stdout, stderr)
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing but faults and warnings")
	return cmd
}

// loadOrRead is load, and reads standard input where path is "-".
func loadOrRead(stdin io.Reader, path string, asked bool, stderr io.Writer) (config.Config, error) {
	if path != "-" {
		return load(path, asked, stderr)
	}
	cfg, err := config.Read(stdin, "<stdin>")
	tellWarnings(cfg, stderr)
	return cfg, err
}

// check prints cfg, the configuration at path, as it would be in effect; a nil stdout wants nothing but warnings.
func check(cfg config.Config, path string, stdout, stderr io.Writer) error {
	for _, w := range append(fileWarnings(cfg), unitWarnings(cfg)...) {
		fmt.Fprintf(stderr, "warning: %s\n", w)
	}
	if stdout == nil {
		return nil
	}
	if cfg.Path == "" {
		fmt.Fprintf(stderr, "%s: there is no such file; these are the built-in defaults\n", path)
	}
	return cli.OutputError(cfg.WriteTOML(stdout))
}
