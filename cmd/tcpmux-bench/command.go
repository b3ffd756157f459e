package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/progress"
	"tcpmux/cmd/internal/secure"
	"tcpmux/cmd/tcpmux-bench/bench"
)

// request is the parsed command line.
type request struct {
	bench.CompareOptions
	secured            secure.Flags
	compare, json, csv bool
	plot               string
}

func command(stdin, stdout, stderr *os.File) *cobra.Command {
	r := request{CompareOptions: bench.CompareOptions{Options: bench.Options{Greeting: true}}}
	cmd := &cobra.Command{
		Use:   "tcpmux-bench [HOST:PORT | HOST PORT | unix:/PATH]",
		Short: "Put many clients on a TCP server at once and measure it",
		Long: `tcpmux-bench runs many clients against a TCP server that greets them, by default the one at ` + cli.DefaultAddress + `, or against
the one at a unix socket. It prints how many clients were served, how fast, and which errors occurred. With --greeting=false the
server need not greet.

The --workload says what the clients do. A run ends after --count or --duration, whichever comes first.

` + workloadList() + `Lines count once the server has read them: a run lasts until the server has closed every connection after its client did. The
latency is the time from connecting to the greeting, or the time that a write waited. With --rate it starts when the
visit or line was due. Only servers on this machine are measured unless --allow-remote is given. A terminal shows a progress
bar, without colour if NO_COLOR is set. Ctrl-C ends a run early and prints what was measured.

--compare takes no address. It starts tcpmux with each model, and the reference programs if the directory --reference has them,
on free ports of 127.0.0.1 and in temporary directories. It measures them in turns, --runs times each, prints the medians in one
table with ratios to the first, and ends everything that it started.

Exit status: 0 when all went well, 1 after errors or when it could not measure, 64 usage, 130 after Ctrl-C.`,
		Example: `  tcpmux-bench                                            # visits to the daemon of this machine
  tcpmux-bench --workload idle --clients 10000 --duration 1m
  tcpmux-bench --workload lines --size 512 --rate 5000 --json
  tcpmux-bench --greeting=false localhost 7000            # a server that does not greet
  tcpmux-bench --tls --ca ca.pem --workload idle          # what TLS costs
  tcpmux-bench --compare --plot compare.svg               # the models and the reference programs side by side`,
		Args: func(cmd *cobra.Command, args []string) error { return r.check(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return r.measure(cmd.Context(), stdout, stderr) },

		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r.define(cmd)
	cli.Prepare(cmd, stdin, stdout, stderr)
	return cmd
}

// workloadList is a paragraph for each workload, with its defaults; the manual page fills its
// lines.
func workloadList() string {
	var b strings.Builder
	for _, name := range bench.WorkloadNames() {
		w := bench.Workloads[name]
		fmt.Fprintf(&b, "%s: %s (%d clients%s).\n\n", name, w.What, w.Clients, defaultCount(w))
	}
	return b.String()
}

func defaultCount(w bench.Workload) string {
	switch {
	case w.Count == 0:
		return fmt.Sprintf(", %v", w.Duration)
	case w.Size == 0:
		return fmt.Sprintf(", --count %d in all", w.Count)
	}
	return fmt.Sprintf(", --count %d each, %d bytes", w.Count, w.Size)
}

func (r *request) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&r.Workload, "workload", "visits", "what the clients do: "+strings.Join(bench.WorkloadNames(), ", "))
	flags.IntVar(&r.Clients, "clients", 0, fmt.Sprintf("how many at once, at most %d (default: the workload's)", bench.MaxClients))
	flags.IntVar(&r.Count, "count", 0, "visits in all, lines of each client, or rounds (default: the workload's)")
	flags.DurationVar(&r.Duration, "duration", 0, fmt.Sprintf("the longest a run may last, or how long an idle crowd holds; at most %v (default: the workload's)", bench.MaxDuration))
	flags.IntVar(&r.Size, "size", 0, "bytes of a line with its newline (default: the workload's)")
	flags.StringVar(&r.Framing, "framing", "line", "how messages are framed that are sent as lines: "+strings.Join(bench.FramingNames(), ", "))
	flags.IntVar(&r.Rate, "rate", 0, "visits or lines a second at most; 0: as many as the server takes")
	flags.BoolVar(&r.Greeting, "greeting", true, "wait for the server to speak first")
	flags.StringVar(&r.Expect, "expect", "", "what the greeting must begin with")
	flags.DurationVar(&r.Timeout, "timeout", bench.DefaultTimeout, "how long a client waits for a connection and its greeting, for room to write, for the end")
	r.secured.Define(flags)
	flags.BoolVar(&r.AllowRemote, "allow-remote", false, "measure a server on another machine, whose owner should know")
	flags.BoolVar(&r.json, "json", false, "print one JSON object instead of a table")
	flags.BoolVar(&r.csv, "csv", false, "print comma-separated values with a header instead of a table")
	flags.BoolVar(&r.compare, "compare", false, "measure the models of tcpmux and the reference programs side by side")
	flags.StringVar(&r.Program, "tcpmux", "", "with --compare: the `PROGRAM` to measure (default: the one next to tcpmux-bench, otherwise in $PATH)")
	flags.IntVar(&r.Runs, "runs", 3, fmt.Sprintf("with --compare: how often each is measured, at most %d", bench.MaxRuns))
	flags.StringVar(&r.Reference, "reference", "contrib/reference", "with --compare: the `DIR` of the reference programs")
	flags.StringVar(&r.plot, "plot", "", "with --compare: draw it into a `FILE` that ends in .svg or .png")
	if err := errors.Join(
		cmd.RegisterFlagCompletionFunc("workload", cobra.FixedCompletions(bench.WorkloadNames(), cobra.ShellCompDirectiveNoFileComp)),
		cmd.RegisterFlagCompletionFunc("framing", cobra.FixedCompletions(bench.FramingNames(), cobra.ShellCompDirectiveNoFileComp)),
		cmd.MarkFlagFilename("plot", "svg", "png"),
		cmd.MarkFlagFilename("tcpmux"),
		cmd.MarkFlagDirname("reference")); err != nil {
		panic(err) // a flag that is not defined above
	}
}

// check reports what is wrong with the command line.
func (r *request) check(cmd *cobra.Command, args []string) (err error) {
	if r.json && r.csv {
		return errors.New("--json together with --csv, want one of them")
	}
	// In Options 0 is the default, so it must not be given.
	for _, name := range []string{"clients", "count", "duration", "size", "timeout"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && (flag.Value.String() == "0" || flag.Value.String() == "0s") {
			return fmt.Errorf("--%s is %s, want more than that", name, flag.Value)
		}
	}
	if !r.compare {
		for _, name := range []string{"tcpmux", "runs", "reference", "plot"} {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s without --compare", name)
			}
		}
		if err := cli.AtMost(2)(cmd, args); err != nil {
			return err
		}
		if r.Address, err = cli.Address(args); err != nil {
			return err
		}
		if err := r.secured.Check(); err != nil {
			return err
		}
		return onOneLine(r.Options.Check())
	}
	if r.secured != (secure.Flags{}) {
		return errors.New("--compare is without TLS")
	}
	if len(args) > 0 {
		return fmt.Errorf("argument %q together with --compare, which starts its servers itself", args[0])
	}
	if r.plot != "" {
		if _, err := bench.PlotFormat(r.plot); err != nil {
			return err
		}
	}
	return onOneLine(r.CompareOptions.Check())
}

// onOneLine makes one line of joined errors.
func onOneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// measured is the result of a run or a comparison.
type measured interface {
	WriteTable(io.Writer) error
	WriteJSON(io.Writer) error
	WriteCSV(io.Writer) error
	Err() error
}

func (r *request) measure(ctx context.Context, stdout, stderr *os.File) error {
	ctx, stop := cli.UntilInterrupted(ctx)
	defer stop()
	m, err := r.run(ctx, stderr)
	if errors.Is(err, bench.ErrRemote) {
		return &cli.UsageError{Err: err}
	}
	if err != nil {
		return errors.Join(cli.Interruption(ctx), err)
	}
	if err := r.print(m, stdout); err != nil {
		return cli.OutputError(err)
	}
	if err := cli.Interruption(ctx); err != nil {
		return err
	}
	return m.Err()
}

// run measures, and shows a progress bar if standard error is a terminal.
func (r *request) run(ctx context.Context, stderr *os.File) (measured, error) {
	var p progress.Progress
	if columns, ok := cli.Columns(stderr); ok {
		defer p.Bar(stderr, columns, cli.Colour())()
	}
	if !r.compare {
		host := cli.Host(r.Address)
		var err error
		if r.TLS, err = r.secured.Config(host); err != nil {
			return nil, err
		}
		return bench.Run(ctx, r.Options, &p)
	}
	var err error
	if r.Program, err = findDaemon(r.Program); err != nil {
		return nil, err
	}
	c, err := bench.Compare(ctx, r.CompareOptions, &p)
	if err == nil && r.plot != "" && len(c.Servers) > 0 {
		err = draw(c, r.plot)
	}
	return c, err
}

// findDaemon returns the tcpmux to measure: path if it is given, otherwise the one next to this
// program, otherwise the one in $PATH.
func findDaemon(path string) (string, error) {
	if path != "" {
		return exec.LookPath(path)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if near, err := exec.LookPath(filepath.Join(filepath.Dir(self), "tcpmux")); err == nil {
		return near, nil
	}
	found, err := exec.LookPath("tcpmux")
	if err != nil {
		return "", fmt.Errorf("find the daemon to compare: %w; install tcpmux or give its path with --tcpmux", err)
	}
	return filepath.Abs(found)
}

// draw writes the plot of c.
func draw(c bench.Comparison, path string) error {
	format, err := bench.PlotFormat(path)
	if err != nil {
		return err
	}
	picture, err := c.Plot(format)
	if err != nil {
		return err
	}
	return os.WriteFile(path, picture, 0o644)
}

func (r *request) print(m measured, w io.Writer) error {
	switch {
	case r.json:
		return m.WriteJSON(w)
	case r.csv:
		return m.WriteCSV(w)
	}
	return m.WriteTable(w)
}
