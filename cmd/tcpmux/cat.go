package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/tcpmux/client"
	"tcpmux/cmd/tcpmux/records"
)

// catFlags are what cat is asked for.
type catFlags struct {
	records.Selection
	backups              bool
	remote, since, until string
}

func catCommand(stdin, stdout, stderr *os.File) *cobra.Command {
	var f catFlags
	cmd := &cobra.Command{
		Use:   "cat FILE...",
		Short: "Give back the bytes that clients sent",
		Long: fmt.Sprintf(`cat reads record files, compressed ones too, and writes what clients sent to standard output: that of one client (--remote or
--session), of one listener (--listener), of some time (--since, --until), or all of it in the order in which it was recorded.

From JSON records come the exact bytes of each client's stream, line ends and other framing included. What was recorded again
after a crash is given once. From text records comes what they hold: each whole message with a newline behind it, whatever
its end was; what came without an end stands without a newline; a message in pieces is joined.

At a terminal the bytes are shown in a form that can do nothing to it, as connect shows them: control characters and bytes that
are no UTF-8 are written \xNN or \uNNNN, a backslash \\. In a pipe or a file they are as they were sent.

What is no record is passed over and told on standard error, as are bytes that are missing, and no more than the first %d of a
file; verify tells more. Files are read in the order that verify reads them; - is standard input.

Where nothing is selected nothing is written, and the exit status is 0 all the same; standard error says so if it is a terminal.

Exit status: 0 done, 1 when something was passed over or is missing or a file cannot be read, 64 usage, 130 after Ctrl-C.`, records.MostFaults),
		Example: `  tcpmux cat --remote 192.0.2.7:40312 records.log > stream
  tcpmux cat --backups --listener scanners /var/log/tcpmux/records.log | wc -l
  tcpmux cat --remote 192.0.2.7 --since 1h records.log    # the last hour's of all its connections
  ssh desk cat /var/log/tcpmux/records.log | tcpmux cat -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := someFiles(cmd, args); err != nil {
				return err
			}
			return f.parse(time.Now())
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return readRecords(cmd.Context(), args, f.backups, stdin, func(ctx context.Context, files *records.Files) error {
				return f.cat(ctx, files, stdout, stderr)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.remote, "remote", "", "of the client at this `ADDRESS:PORT`, or of all at this ADDRESS")
	flags.StringVar(&f.Session, "session", "", "of the session of this `NAME` (JSON records)")
	flags.StringVar(&f.Listener, "listener", "", "of the clients of the listener of this `NAME` (JSON records)")
	flags.StringVar(&f.since, "since", "", "recorded at this `TIME` or later: RFC 3339 as in records, without Z or an offset UTC, a date, or how long ago (90m)")
	flags.StringVar(&f.until, "until", "", "recorded before this `TIME`")
	backupsFlag(cmd, &f.backups)
	return cmd
}

// parse reads the flags that have a form.
func (f *catFlags) parse(now time.Time) (err error) {
	if f.remote != "" {
		if f.Remote, err = records.ParseRemote(f.remote); err != nil {
			return fmt.Errorf("--remote %w", err)
		}
	}
	if f.Since, err = parseTime(f.since, now); err != nil {
		return fmt.Errorf("--since %w", err)
	}
	if f.Until, err = parseTime(f.until, now); err != nil {
		return fmt.Errorf("--until %w", err)
	}
	return nil
}

// parseTime reads a time, or how long before now it was. "" is the zero time.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("is %q, want a time such as 2026-11-22T13:05:41Z, a date, or how long ago, such as 90m", s)
}

func (f *catFlags) cat(ctx context.Context, files *records.Files, stdout, stderr *os.File) error {
	var out io.Writer = stdout
	flush := func() error { return nil }
	if term.IsTerminal(int(stdout.Fd())) {
		shown := client.NewEscaped(stdout)
		out, flush = shown, shown.Flush
	}
	n, err := files.Cat(ctx, out, f.Selection, func(f records.Finding) { fmt.Fprintf(stderr, "%v\n", f) })
	if flushed := flush(); err == nil {
		err = flushed
	}
	if err == nil && n == 0 && f.Selection != (records.Selection{}) && term.IsTerminal(int(stderr.Fd())) {
		fmt.Fprintln(stderr, "tcpmux: cat: nothing that clients sent is selected by these flags")
	}
	if errors.Is(err, records.ErrFaults) {
		return fmt.Errorf("cat: %w; \"tcpmux verify\" tells more", err)
	}
	return cli.OutputError(err)
}
