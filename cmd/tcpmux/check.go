package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"tcpmux/cmd/internal/cli"

	"github.com/spf13/cobra"

	"tcpmux/config"
	"tcpmux/daemon"
)

// checkHelp is the help of check, and its manual page.
const checkHelp = `check reads a configuration as the daemon would.

It reports every error on standard error, one per line, with the file, line, key
and value, and what is allowed; the exit status is then 78. It lists at most 100
errors and counts the rest. A file without errors is printed as it will take
effect, with every default filled in, unless --quiet is given.

Drop-ins are read too: those of /etc/tcpmux.toml are /etc/tcpmux.d/*.toml, and
those of any other FILE are FILE.d/*.toml. All is printed as one file, in which a
comment above each [[listener]] says where it comes from. The file - is standard
input, which has no drop-ins.

The program that a listener runs (exec) and its user (exec_user) must exist; a
missing interpreter of a script is a warning. Whether that user may execute the
program is checked by the daemon when it starts or reloads, because it may be
allowed less than you.

The certificates, keys and revocation lists of TLS listeners are read too. It is
an error if they cannot be used: a key of another certificate, a weak key, a file
that is missing or is not PEM. That a certificate expires within 14 days, or has
expired, is a warning, and so are a file that you may not read, and rules that
want a certificate (allow subject) where client_auth is "none".

Warnings are about what is allowed but is probably a mistake, such as a record
file in a directory that does not exist, or a key that has no effect together
with the others. They do not change the exit status. A relative file name is
looked up below $LOGS_DIRECTORY or the working directory, as the daemon does:
under systemd that is /var/log/tcpmux.

With --json, check prints one object: file, drop_ins (the drop-ins that were
read), listeners (each with name, file and address), errors (each with file, line
and text; line 0 is the file as a whole) and warnings. With errors there are no
listeners.`

func checkCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var path string
	var quiet, asJSON bool
	cmd := &cobra.Command{
		Use:   "check [--config FILE | FILE | -]",
		Short: "Report every error in a configuration at once",
		Long:  checkHelp,
		Example: `  tcpmux check                              # /etc/tcpmux.toml
  tcpmux check new.toml && sudo install -m 0644 new.toml /etc/tcpmux.toml
  tcpmux check new.toml > effective.toml    # with every default filled in
  tcpmux check --json | jq -r '.listeners[] | .name + " " + .file'
  ssh host cat /etc/tcpmux.toml | tcpmux check -q -`,
		Args: func(cmd *cobra.Command, args []string) error { return checkOneSource(cmd, args, quiet && asJSON) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				path = args[0]
			}
			asked := len(args) > 0 || cmd.Flags().Changed("config")
			if asJSON {
				return checkJSON(stdin, path, asked, stdout)
			}
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object with the listeners, errors and warnings")
	return cmd
}

// checkOneSource refuses arguments that name two files, and options that exclude each other.
func checkOneSource(cmd *cobra.Command, args []string, quietJSON bool) error {
	if len(args) > 0 && cmd.Flags().Changed("config") {
		return fmt.Errorf("argument %q and --config, want one file", args[0])
	}
	if quietJSON {
		return errors.New("--quiet and --json, want one of them")
	}
	return cli.AtMost(1)(cmd, args)
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
	faults, warnings := placeFaults(cfg)
	for _, w := range warnings {
		fmt.Fprintf(stderr, "warning: %s\n", w)
	}
	if len(faults) > 0 {
		return faults
	}
	if stdout == nil {
		return nil
	}
	if cfg.Path == "" {
		fmt.Fprintf(stderr, "%s: there is no such file; these are the built-in defaults%s\n", path, unreadDropIns(path))
	}
	return cli.OutputError(cfg.WriteAnnotated(stdout))
}

// placeFaults returns what keeps listeners of cfg from being served on this machine, and a warning
// for each other obstacle to it.
func placeFaults(cfg config.Config) (faults config.Faults, warnings []string) {
	faults, warnings = daemon.CheckTLS(cfg)
	return faults, slices.Concat(fileWarnings(cfg), unitWarnings(cfg), warnings)
}

// checked is what check prints as JSON.
type checked struct {
	File      string            `json:"file"` // "" for the built-in defaults
	DropIns   []string          `json:"drop_ins"`
	Listeners []checkedListener `json:"listeners"`
	Errors    []checkedError    `json:"errors"`
	Warnings  []string          `json:"warnings"`
}

type checkedListener struct {
	Name    string   `json:"name"`
	File    string   `json:"file"`
	Address []string `json:"address"`
}

type checkedError struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// checkJSON prints the configuration at path as JSON. Its error is that of the configuration too.
func checkJSON(stdin io.Reader, path string, asked bool, stdout io.Writer) error {
	cfg, err := loadOrRead(stdin, path, asked, io.Discard)
	// Empty lists, not null.
	c := checked{cfg.Path, append([]string{}, cfg.DropIns...), []checkedListener{}, []checkedError{}, append([]string{}, cfg.Warnings...)}
	if err == nil {
		faults, warnings := placeFaults(cfg)
		c.Warnings = append(c.Warnings, warnings...)
		if len(faults) > 0 {
			err = faults
		}
	}
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		c.File = path
		for _, f := range faults {
			c.Errors = append(c.Errors, checkedError(f))
		}
	case err != nil:
		c.File, c.Errors = path, []checkedError{{path, 0, err.Error()}}
	default:
		for _, l := range cfg.Listeners {
			c.Listeners = append(c.Listeners, checkedListener{l.Name, l.Source, l.Address})
		}
	}
	out := json.NewEncoder(stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return errors.Join(err, cli.OutputError(out.Encode(c)))
}
