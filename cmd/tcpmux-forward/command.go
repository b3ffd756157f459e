package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/config"
)

// request is the parsed command line.
type request struct {
	stdout, stderr *os.File
	config         string
	once           bool
	from           files
	forget, accept bool
	json           bool
}

// files is the value of --from: whether it is given, and the file of --from=FILE. The other files
// are arguments.
type files struct {
	given bool
	first []string
}

// String returns the default.
func (f *files) String() string { return "false" }

// Type is that of a flag which needs no value.
func (f *files) Type() string { return "bool" }

// Set is called with "true" for a flag without a value.
func (f *files) Set(s string) error {
	f.given = true
	if s != "true" {
		f.first = append(f.first, s)
	}
	return nil
}

// description is the text of the help, and of the manual page.
const description = `tcpmux-forward delivers the records of tcpmux to a stream of NATS JetStream,
each of them once and in order. It follows all json record files of the
configuration, over rotation and compression. The files are its buffer: during
an outage nothing is lost, and nothing is held back in memory. The daemon's
retention leaves what is not delivered, as long as [forward] is configured.

What is delivered, and where to, is in the table [forward] of /etc/tcpmux.toml,
with the drop-ins /etc/tcpmux.d/*.toml, or of FILE with FILE.d/*.toml: see
tcpmux.toml(5). "tcpmux check" reports errors. The package has the unit
tcpmux-forward.service, which runs tcpmux-forward without options. A relative
file name in /etc/tcpmux.toml is below $LOGS_DIRECTORY, or /var/log/tcpmux
without it; one in another FILE is below $LOGS_DIRECTORY, or the working
directory.

Each record is a message whose data is the line of the record file. The stream
itself says where the delivery stands: a message is stored only behind the last
one of this machine. So nothing is lost or doubled when tcpmux-forward, the
server or a machine is killed, nor when two of them run. Where that cannot be
known, because the stream is not the one that was delivered to before,
tcpmux-forward stops and says what there is to decide ("blocked").

Without --once or --from it runs until SIGTERM or SIGINT, and finishes what is
in flight. SIGHUP reloads the configuration; one with an error changes nothing,
and the log says why. "tcpmux-forward status" shows how far it is. Its metrics
and health checks are on the addresses of [forward].

--once delivers what is recorded now, and ends: for cron, or before a machine is
retired. It waits for a server that does not answer; timeout(1) limits that.
--from delivers FILEs, which may be compressed, in the order given, and ends.
Run again with the same FILEs, it goes on where it stood, and delivers no record
twice; that is known of the last 64 runs with other FILEs. It does not know what
was delivered without --from: such records are in the stream twice then. Both
fail if a file cannot be read. A terminal shows a progress bar, without colour
if NO_COLOR is set.

--forget gives up what is recorded and not delivered: it prints what that is,
and retention may remove it. --accept-stream lets the next start deliver into
another stream than before, behind what was delivered to that one.

--once, --forget and --accept-stream need the service to be stopped: systemctl
stop tcpmux-forward. --from does not.

Exit status: 0 when all is delivered, or after SIGTERM without --once and
--from; 1 when it failed, 64 usage, 78 for an error in the configuration, 130
after Ctrl-C and 143 after SIGTERM with --once or --from.`

func command(stdin, stdout, stderr *os.File) *cobra.Command {
	r := &request{stdout: stdout, stderr: stderr}
	cmd := &cobra.Command{
		Use:   "tcpmux-forward [--config FILE] [--once | --from FILE...]",
		Short: "Deliver the records of tcpmux to NATS JetStream",
		Long:  description,
		Example: `  systemctl enable --now tcpmux-forward           # deliver from now on
  tcpmux-forward status                           # how far it is, and what is wrong
  tcpmux-forward --once                           # deliver what there is now, and end
  tcpmux-forward --from old.log.2.gz old.log.1    # deliver archives, the oldest first
  systemctl stop tcpmux-forward; tcpmux-forward --forget`,
		Args: r.check,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd, append(r.from.first, args...)) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	r.define(cmd)
	cmd.AddCommand(statusCommand(stdout))
	cli.Prepare(cmd, stdin, stdout, stderr)
	return cmd
}

func (r *request) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	configFlag(cmd, &r.config)
	flags.BoolVar(&r.once, "once", false, "deliver what is recorded now, and end")
	flags.Var(&r.from, "from", "deliver the FILEs that are given as arguments instead of the record files, and end")
	flags.Lookup("from").NoOptDefVal = "true"
	flags.BoolVar(&r.forget, "forget", false, "give up what is recorded now and not delivered, and end")
	flags.BoolVar(&r.accept, "accept-stream", false, "let the next start deliver into another stream than before, and end")
	flags.BoolVar(&r.json, "json", false, "with --once, --from and --forget: print the result as JSON")
}

// configFlag adds --config to cmd.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", config.DefaultPath, "the configuration `FILE`")
	_ = cmd.MarkFlagFilename("config", "toml") // it fails only for a flag that does not exist
}

// check reports what is wrong with the command line.
func (r *request) check(cmd *cobra.Command, args []string) error {
	var modes []string
	for _, m := range []struct {
		name  string
		given bool
	}{{"--once", r.once}, {"--from", r.from.given}, {"--forget", r.forget}, {"--accept-stream", r.accept}} {
		if m.given {
			modes = append(modes, m.name)
		}
	}
	switch {
	case len(modes) > 1:
		return fmt.Errorf("%s together, want at most one of --once, --from, --forget and --accept-stream", strings.Join(modes, " and "))
	case r.json && (len(modes) == 0 || r.accept):
		return errors.New(`--json without --once, --from or --forget, which it goes with; "tcpmux-forward status --json" asks a running one`)
	case r.from.given && len(r.from.first)+len(args) == 0:
		return errors.New("--from without a file, want --from FILE... with at least one")
	case !r.from.given && len(args) > 0 && strings.ContainsAny(args[0], "./"):
		return fmt.Errorf("unexpected argument %q: \"--from FILE...\" delivers files", args[0])
	case !r.from.given:
		return cli.KnownCommand(cmd, args)
	}
	return nil
}
