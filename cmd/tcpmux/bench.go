package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tcpmux/cmd/tcpmux/bench"
	"tcpmux/cmd/tcpmux/client"
	"tcpmux/cmd/tcpmux/progress"
)

// benchFlags are what is asked for besides the measurement itself.
type benchFlags struct {
	bench.CompareOptions
	compare, json, csv bool
	plot               string
}

func benchCommand(stdout, stderr *os.File) *cobra.Command {
	f := benchFlags{CompareOptions: bench.CompareOptions{Options: bench.Options{Greeting: true}}}
	cmd := &cobra.Command{
		Use:   "bench [HOST:PORT | HOST PORT]",
		Short: "Put many clients on a server at once and measure it",
		Long: `bench plays a crowd of clients against any TCP server that greets them, by default the one at ` + client.DefaultAddress + `, and prints how
many it served, how fast, and what went wrong. With --greeting=false a server need not greet.

What the clients do is the --workload. A run ends by --count or --duration, whichever comes first.

` + workloadList() + `Lines are counted when the server has read them: a run lasts until it has closed every connection after the client did. The
measured latency is that from connecting to the greeting, or how long a write waited; with --rate it counts from when
something was due. Only this machine is measured unless --allow-remote is given. At a terminal a bar shows the progress,
without colour if NO_COLOR is set. Ctrl-C ends a run early; what was measured is printed.

--compare takes no address. It starts this program with each model, and the reference programs if they are in the directory
--reference, on free ports of 127.0.0.1 and in temporary directories; measures one after the other, --runs times in turns;
prints the medians in one table with ratios to the first; and ends all that it started.

Exit status: 0 when all went well, 1 when there were errors or it could not measure, 64 usage, 130 after Ctrl-C.`,
		Example: `  tcpmux bench                                            # visits to this machine's daemon
  tcpmux bench --workload idle --clients 10000 --duration 1m
  tcpmux bench --workload lines --size 512 --rate 5000 --json
  tcpmux bench --greeting=false localhost 7000            # a server that does not greet
  tcpmux bench --compare --plot compare.svg               # the models and the reference programs side by side`,
		Args: func(cmd *cobra.Command, args []string) error { return f.check(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return f.measure(cmd.Context(), stdout, stderr) },

		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.define(cmd)
	return cmd
}

// workloadList is a paragraph for each workload, with its defaults; the manual page fills its lines.
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

func (f *benchFlags) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.Workload, "workload", "visits", "what the clients do: "+strings.Join(bench.WorkloadNames(), ", "))
	flags.IntVar(&f.Clients, "clients", 0, fmt.Sprintf("how many at once, at most %d (default: the workload's)", bench.MaxClients))
	flags.IntVar(&f.Count, "count", 0, "visits in all, lines of each client, or rounds (default: the workload's)")
	flags.DurationVar(&f.Duration, "duration", 0, fmt.Sprintf("the longest a run may last, or how long an idle crowd holds; at most %v (default: the workload's)", bench.MaxDuration))
	flags.IntVar(&f.Size, "size", 0, "bytes of a line with its newline (default: the workload's)")
	flags.IntVar(&f.Rate, "rate", 0, "visits or lines a second at most; 0: as many as the server takes")
	flags.BoolVar(&f.Greeting, "greeting", true, "wait for the server to speak first")
	flags.StringVar(&f.Expect, "expect", "", "what the greeting must begin with")
	flags.DurationVar(&f.Timeout, "timeout", bench.DefaultTimeout, "how long a client waits for a connection and its greeting, for room to write, for the end")
	flags.BoolVar(&f.AllowRemote, "allow-remote", false, "measure a server on another machine, whose owner should know")
	flags.BoolVar(&f.json, "json", false, "print one JSON object instead of a table")
	flags.BoolVar(&f.csv, "csv", false, "print comma-separated values with a header instead of a table")
	flags.BoolVar(&f.compare, "compare", false, "measure this program's models and the reference programs side by side")
	flags.IntVar(&f.Runs, "runs", 3, fmt.Sprintf("with --compare: how often each is measured, at most %d", bench.MaxRuns))
	flags.StringVar(&f.Reference, "reference", "contrib/reference", "with --compare: the `DIR` of the reference programs")
	flags.StringVar(&f.plot, "plot", "", "with --compare: draw it into a `FILE` that ends in .svg or .png")
	if err := errors.Join(
		cmd.RegisterFlagCompletionFunc("workload", cobra.FixedCompletions(bench.WorkloadNames(), cobra.ShellCompDirectiveNoFileComp)),
		cmd.MarkFlagFilename("plot", "svg", "png"),
		cmd.MarkFlagDirname("reference")); err != nil {
		panic(err) // a flag that is not defined above
	}
}

// check is everything that can be known to be wrong without measuring.
func (f *benchFlags) check(cmd *cobra.Command, args []string) (err error) {
	if f.json && f.csv {
		return errors.New("--json beside --csv, want one of them")
	}
	for _, name := range []string{"clients", "count", "duration", "size", "timeout"} { // 0 is the default only when nobody says so
		if flag := cmd.Flags().Lookup(name); flag.Changed && (flag.Value.String() == "0" || flag.Value.String() == "0s") {
			return fmt.Errorf("--%s is %s, want more than that", name, flag.Value)
		}
	}
	if !f.compare {
		for _, name := range []string{"runs", "reference", "plot"} {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s without --compare", name)
			}
		}
		if err := atMost(2)(cmd, args); err != nil {
			return err
		}
		if f.Address, err = client.Address(args); err != nil {
			return err
		}
		return onOneLine(f.Options.Check())
	}
	if len(args) > 0 {
		return fmt.Errorf("argument %q beside --compare, which starts its servers itself", args[0])
	}
	if f.plot != "" {
		if _, err := bench.PlotFormat(f.plot); err != nil {
			return err
		}
	}
	return onOneLine(f.CompareOptions.Check())
}

// onOneLine makes one line of joined errors.
func onOneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// measured is what both kinds of measurement have in common.
type measured interface {
	WriteTable(io.Writer) error
	WriteJSON(io.Writer) error
	WriteCSV(io.Writer) error
	Trouble() error
}

func (f *benchFlags) measure(ctx context.Context, stdout, stderr *os.File) error {
	impatient := func(s os.Signal) {} // the first one ends the run within moments
	ctx, stop := untilSignal(ctx, impatient, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	m, err := f.run(ctx, stderr)
	if errors.Is(err, bench.ErrRemote) {
		return &usageError{err}
	}
	if err != nil {
		return errors.Join(interruption(ctx), err)
	}
	if err := f.print(m, stdout); err != nil {
		return outputError(err)
	}
	if err := interruption(ctx); err != nil {
		return err
	}
	return m.Trouble()
}

// interruption is the signal that ended the run, if one did.
func interruption(ctx context.Context) error {
	var sig signalError
	if errors.As(context.Cause(ctx), &sig) {
		return sig
	}
	return nil
}

// run measures, with a bar at the terminal.
func (f *benchFlags) run(ctx context.Context, stderr *os.File) (measured, error) {
	var p progress.Progress
	if columns, ok := terminalColumns(stderr); ok {
		defer p.Bar(stderr, columns, os.Getenv("NO_COLOR") == "")()
	}
	if !f.compare {
		return bench.Run(ctx, f.Options, &p)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f.Program = program
	c, err := bench.Compare(ctx, f.CompareOptions, &p)
	if err == nil && f.plot != "" && len(c.Servers) > 0 {
		err = draw(c, f.plot)
	}
	return c, err
}

// terminalColumns tells how wide the terminal w is at any time, if it is one that can move its cursor.
func terminalColumns(w *os.File) (columns func() int, ok bool) {
	fd := int(w.Fd())
	if !term.IsTerminal(fd) || os.Getenv("TERM") == "dumb" {
		return nil, false
	}
	return func() int {
		if width, _, err := term.GetSize(fd); err == nil && width > 0 {
			return width
		}
		return 80
	}, true
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

func (f *benchFlags) print(m measured, w io.Writer) error {
	switch {
	case f.json:
		return m.WriteJSON(w)
	case f.csv:
		return m.WriteCSV(w)
	}
	return m.WriteTable(w)
}
