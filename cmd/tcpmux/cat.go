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

// catFlags are the flags of cat.
type catFlags struct {
	records.Selection
	backups              bool
	remote, since, until string
}

// catHelp is the help of cat, and its manual page, with how many faults of a file are reported.
const catHelp = `cat reads record files, compressed ones too, and writes what clients sent to
standard output: that of one client (--remote or --session), of one listener
(--listener), of a period of time (--since, --until), or everything, in the order
in which it was recorded.

From JSON records it restores the exact bytes of each client's stream, including
line ends and other framing. Messages that were recorded again after a crash are
written once. Text records hold less: each whole message is written with a
newline after it, whatever its end was; a message without an end is written
without a newline; and a message that was recorded in pieces is joined. Several
of these in a row are joined to each other too: text does not tell where one ends.

At a terminal the bytes are shown in a form that cannot harm it, as connect shows
them: control characters and bytes that are not UTF-8 are written \xNN or \uNNNN,
and a backslash \\. In a pipe or a file they are as they were sent.

Lines that are not records, and bytes that are missing, are reported on standard
error, at most the first %d of each file; verify reports more. Files are read in
the order in which verify reads them; - is standard input.

If nothing is selected, nothing is written, and the exit status is 0 all the
same; standard error says so if it is a terminal.

Exit status: 0 when done, 1 when a line was skipped, bytes are missing, or a file
cannot be read, 64 for a usage error, 130 after Ctrl-C.`

func catCommand(stdin, stdout, stderr *os.File) *cobra.Command {
	var f catFlags
	cmd := &cobra.Command{
		Use:   "cat FILE...",
		Short: "Print the bytes that clients sent",
		Long:  fmt.Sprintf(catHelp, records.MostFaults),
		Example: `  tcpmux cat --remote 192.0.2.7:40312 records.log > stream
  tcpmux cat --backups --listener scanners /var/log/tcpmux/records.log | wc -l
  tcpmux cat --remote 192.0.2.7 --since 1h records.log    # its connections in the last hour
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
	flags.StringVar(&f.remote, "remote", "", "print only the client at `ADDRESS:PORT`, or all clients at ADDRESS, or of a user at unix sockets, uid=N")
	flags.StringVar(&f.Session, "session", "", "print only the session `NAME` (JSON records)")
	flags.StringVar(&f.Listener, "listener", "", "print only the clients of the listener `NAME` (JSON records)")
	flags.StringVar(&f.since, "since", "", "print only what was recorded at `TIME` or later: RFC 3339 as in records, in UTC without an offset, a date, or how long ago (90m)")
	flags.StringVar(&f.until, "until", "", "print only what was recorded before `TIME`")
	backupsFlag(cmd, &f.backups)
	return cmd
}

// parse reads the flags that have a notation.
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

// parseTime reads a time, or how long before now it was. An empty string is the zero time.
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
		fmt.Fprintln(stderr, "tcpmux: cat: these flags select nothing that clients sent")
	}
	if errors.Is(err, records.ErrFaults) {
		return fmt.Errorf("cat: %w; \"tcpmux verify\" reports more", err)
	}
	return cli.OutputError(err)
}
