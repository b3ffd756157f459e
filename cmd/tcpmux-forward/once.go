package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/progress"
	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/forward"
)

// run does what the command line asks for.
func (r *request) run(cmd *cobra.Command, files []string) error {
	switch {
	case r.forget:
		return r.giveUp(cmd)
	case r.accept:
		return r.acceptStream(cmd)
	case r.once, r.from.given:
		return r.deliver(cmd, files)
	}
	return follow(cmd, r.config, r.stderr)
}

// deliver delivers what there is, or files if there are any, and prints how much it was.
func (r *request) deliver(cmd *cobra.Command, files []string) error {
	ctx, stop := cli.UntilInterrupted(cmd.Context())
	defer stop()
	cfg, err := loadOn(cmd, r.config)
	if err != nil {
		return err
	}
	status, err := func() (api.Status, error) {
		stderr, advance, end := r.bar()
		defer end()
		log, err := openLog(quiet(cfg.Log.Level), stderr)
		if err != nil {
			return api.Status{}, err
		}
		f, err := forward.New(forward.Options{
			Config: cfg, Log: log.Logger, Version: cli.Version(), Once: r.once, Files: files, Progress: advance,
		})
		if err != nil {
			return api.Status{}, err
		}
		err = f.Run(ctx)
		status := f.Status()
		return status, errors.Join(err, f.Close())
	}()
	interrupted := cli.Interruption(ctx)
	if err != nil && interrupted == nil {
		return err
	}
	if err := r.report(ctx, status); err != nil {
		return err
	}
	return interrupted
}

// report prints what was delivered, or what is left after an interruption.
func (r *request) report(ctx context.Context, s api.Status) error {
	if r.json {
		return printJSON(r.stdout, s)
	}
	line := fmt.Sprintf("%s, %s delivered to %s, lag %d", text.Number(s.Records, "record"), text.Number(s.Bytes, "byte"), text.ASCII(s.Stream), s.Lag.Bytes)
	if s.Skipped > 0 {
		line += fmt.Sprintf(", %s skipped as no records", text.Number(s.Skipped, "line"))
	}
	if cli.Interruption(ctx) != nil {
		_, _ = fmt.Fprintf(r.stderr, "tcpmux-forward: interrupted: %s; run it again to deliver the rest\n", line) // nobody may be there
		return nil
	}
	_, err := fmt.Fprintln(r.stdout, line)
	return cli.OutputError(err)
}

// bar shows a progress bar if standard error is a terminal. stderr is where to log to, advance
// takes the progress, and end erases the bar.
func (r *request) bar() (stderr io.Writer, advance func(done, total int64), end func()) {
	columns, ok := cli.Columns(r.stderr)
	if !ok {
		return r.stderr, nil, func() {}
	}
	p, last, all := new(progress.Progress), int64(0), int64(0)
	rate := func(perSecond float64) string { return text.Size(int64(perSecond)) + "/s" }
	advance = func(done, total int64) {
		if total != all {
			p.Phase("deliver", total, rate)
			last, all = 0, total
		}
		p.Add(done - last)
		last = done
	}
	return p.Over(r.stderr, r.stderr), advance, p.Bar(r.stderr, columns, cli.Colour())
}

// quiet returns the level of the log of a program that ends: that all goes well is no line, unless
// somebody looks for a fault.
func quiet(level string) string {
	if strings.EqualFold(level, "info") {
		return "warn"
	}
	return level
}

// forgotten is what --forget prints as JSON.
type forgotten struct {
	Bytes int64      `json:"bytes"`
	Files []api.File `json:"files"`
}

// giveUp is --forget.
func (r *request) giveUp(cmd *cobra.Command) error {
	cfg, err := load(cmd, r.config)
	if err != nil {
		return err
	}
	all, err := forward.Forget(cfg)
	if err != nil {
		return err
	}
	f := forgotten{Files: all}
	for _, file := range all {
		f.Bytes += file.Lag
	}
	if r.json {
		return printJSON(r.stdout, f)
	}
	out := bufio.NewWriter(r.stdout)
	for _, file := range all {
		fmt.Fprintf(out, "%s: %s given up\n", text.Prose(file.Path), text.Number(file.Lag, "byte")) // Flush returns the error
	}
	fmt.Fprintf(out, "%s given up in all; the delivery goes on with what is recorded from now on\n", text.Number(f.Bytes, "byte"))
	return cli.OutputError(out.Flush())
}

// acceptStream is --accept-stream.
func (r *request) acceptStream(cmd *cobra.Command) error {
	cfg, err := loadOn(cmd, r.config)
	if err != nil {
		return err
	}
	if err := forward.AcceptStream(cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.stdout, "the next start delivers into stream %s, whichever it is: systemctl start tcpmux-forward\n", text.ASCII(cfg.Forward.Stream))
	return cli.OutputError(err)
}

// printJSON prints v on several lines, in ASCII.
func printJSON(out *os.File, v any) error {
	b, err := text.JSON(v, true)
	if err == nil {
		_, err = out.Write(b)
	}
	return cli.OutputError(err)
}
