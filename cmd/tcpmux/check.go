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
		Short: "Report every error in a configuration at once",
		Long: `check reads a configuration as the daemon would.

It reports every error on standard error, one per line, with the file, line, key
and value, and what is allowed; the exit status is then 78. It lists at most 100
errors and counts the rest. The file - is standard input. A file without errors
is printed as it will take effect, with every default filled in, unless --quiet
is given.

The program that a listener runs (exec) and its user (exec_user) must exist; a
missing interpreter of a script is a warning. Whether that user may execute the
program is checked by the daemon when it starts or reloads, because it may be
allowed less than you.

Warnings are about what is allowed but is probably a mistake, such as a record
file in a directory that does not exist, or a key that has no effect together
with the others. They do not change the exit status. A relative file name is
looked up below $LOGS_DIRECTORY or the working directory, as the daemon does:
under systemd that is /var/log/tcpmux.`,
		Example: `  tcpmux check                              # /etc/tcpmux.toml
  tcpmux check new.toml && sudo install -m 0644 new.toml /etc/tcpmux.toml
  tcpmux check new.toml > effective.toml    # with every default filled in
  ssh host cat /etc/tcpmux.toml | tcpmux check -q -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.Flags().Changed("config") {
				return fmt.Errorf("argument %q and --config, want one file", args[0])
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
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print only errors and warnings")
	return cmd
}

// checkArgs are the arguments with which a program checks the configuration at path.
func checkArgs(path string, asked bool) []string {
	args := []string{"check", "--quiet"}
	if asked {
		args = append(args, "--config", path)
	}
	return args
}

// loadOrRead is load, and reads standard input if path is "-".
func loadOrRead(stdin io.Reader, path string, asked bool, stderr io.Writer) (config.Config, error) {
	if path != "-" {
		return load(path, asked, stderr)
	}
	cfg, err := config.Read(stdin, "<stdin>")
	printWarnings(cfg, stderr)
	return cfg, err
}

// check prints warnings about cfg, the configuration at path, and cfg as it would take effect. A
// nil stdout gets no configuration.
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
