package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/progress"
	"tcpmux/cmd/tcpmux/records"
)

// verifyFlags are what verify is asked for.
type verifyFlags struct {
	backups, json, verbose bool
}

func verifyCommand(stdin, stdout, stderr *os.File) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Prove that record files are whole",
		Long: fmt.Sprintf(`verify reads record files, compressed ones too, and tells every fault on a line of its own: FILE:LINE: what.

Each line must be a record in just the form that the daemon writes. Of each session in JSON records, message must follow on
message without gap or overlap from its opening to its close, whose totals must agree. A torn last line, as a crash or a full
disk leaves it, is told from a hole of NUL bytes and from bytes that are missing in the middle.

What a crash leaves in order is no fault, nor is what goes on: messages that were recorded again, if they say the same; a session
that goes on behind its close, because the daemon was killed during it; a session without a close, which is still open or was so
when the daemon was killed; a session that began in an earlier file which is not given. They are counted, and told one by one with
--verbose.

Only the named files are read, or with --backups also those that they were rotated to. Rotated files are read in the order of
the times in their names and before the one that they come from. A file that the daemon writes to may be verified at any time.
- is standard input, such as what unpacks a file; what can be read only once is kept in $TMPDIR for a second reading.

Of each file the first %d faults are told, and how many there are in all. With --json these are in findings; faults is the
true number, of all files and of each.

Text records can prove less: that each line is a record, and that between the events of an address there are as many records
as its close tells, and about as many bytes. This is said at the end, and is no fault.

Exit status: 0 when there is no fault, 1 when there is one or a file cannot be read, 64 usage, 130 after Ctrl-C.`, records.MostFaults),
		Example: `  tcpmux verify --backups /var/log/tcpmux/records.log
  tcpmux verify records-2026-11-*.log.gz
  tcpmux verify --json records.log | jq .proven
  xz -dc records.log.xz | tcpmux verify -`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return readRecords(cmd.Context(), args, f.backups, stdin, func(ctx context.Context, files *records.Files) error {
				return f.verify(ctx, files, stdout, stderr)
			})
		},
	}
	backupsFlag(cmd, &f.backups)
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object: the faults and the summary")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "also tell what may look like a fault and is none")
	return cmd
}

func (f *verifyFlags) verify(ctx context.Context, files *records.Files, stdout, stderr *os.File) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var p progress.Progress
	out, wipe := f.bar(&p, files, stdout, stderr)
	defer wipe()
	out = endingWriter{out, cancel}
	var report verifyReport = &linesReport{out: out, verbose: f.verbose}
	if f.json {
		report = &jsonReport{out: bufio.NewWriter(out)}
	}
	s, err := files.Verify(ctx, records.VerifyOptions{
		Fault: report.fault,
		Note:  report.note,
		Again: func() { p.Phase("verify, compare what is there twice", files.Size(), megabytes) },
	})
	wipe()
	if err != nil {
		return cli.OutputError(err)
	}
	if err := report.end(s); err != nil {
		return cli.OutputError(err)
	}
	if !s.Whole {
		return fmt.Errorf("verify: %s", count(s.Faults, "fault"))
	}
	return nil
}

// endingWriter ends the reading once nobody takes what it has found.
type endingWriter struct {
	io.Writer
	end context.CancelCauseFunc
}

// Write writes b.
func (w endingWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if err != nil {
		w.end(err)
	}
	return n, err
}

// bar has progress shown on stderr if it is a terminal, until wipe is called, which may be done twice. What is to be told
// meanwhile goes to out.
func (f *verifyFlags) bar(p *progress.Progress, files *records.Files, stdout, stderr *os.File) (out io.Writer, wipe func()) {
	columns, ok := cli.Columns(stderr)
	if !ok {
		return stdout, func() {}
	}
	p.Phase("verify", files.Size(), megabytes)
	files.Progress = p.Add
	stop, stopped := p.Bar(stderr, columns, cli.Colour()), false
	wipe = func() {
		if !stopped {
			stopped = true
			stop()
		}
	}
	return p.Over(stdout, stderr), wipe
}

func megabytes(perSecond float64) string { return fmt.Sprintf("%.0f MB/s", perSecond/1e6) }

// verifyReport is how findings are printed. An error of writing is that of end.
type verifyReport interface {
	fault(records.Finding)
	note(records.Finding)
	end(records.Summary) error
}

// linesReport prints for people.
type linesReport struct {
	out     io.Writer
	verbose bool
	err     error
}

func (r *linesReport) printf(format string, args ...any) {
	if r.err == nil {
		_, r.err = fmt.Fprintf(r.out, format+"\n", args...)
	}
}

func (r *linesReport) fault(f records.Finding) { r.printf("%v", f) }

func (r *linesReport) note(f records.Finding) {
	if r.verbose {
		r.printf("%v", f)
	}
}

func (r *linesReport) end(s records.Summary) error {
	r.printf("%s, %s, %s, %s", count(int64(len(s.Files)), "file"), count(s.Sessions, "session"), count(s.Messages, "message"), count(s.Bytes, "byte"))
	for _, c := range []struct {
		n    int64
		what string
		is   string
	}{
		{s.Earlier, "session", "began in an earlier file, which is not among these"},
		{s.Open, "session", "without a close: still open, or the daemon was killed"},
		{s.Repeated, "message", "recorded again after a crash, which is no fault"},
	} {
		if c.n > 0 {
			r.printf("%s %s", count(c.n, c.what), c.is)
		}
	}
	r.printf("%s", verdict(s))
	return r.err
}

// verdict is the last line.
func verdict(s records.Summary) string {
	switch {
	case !s.Whole:
		return "not whole: " + count(s.Faults, "fault")
	case s.Proven && s.Open+s.Earlier > 0:
		return "whole: no byte is missing between the first record of each session and its last"
	case s.Proven:
		return "whole: every byte of every session is there, from its opening to its close"
	case s.Unproven > 0:
		return fmt.Sprintf("no fault, and no proof: so many sessions are open at once that %d of them were lost sight of", s.Unproven)
	}
	return "no fault, and no proof: text records do not tell where in the stream they were"
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// jsonReport prints one object, its faults as they are found.
type jsonReport struct {
	out    *bufio.Writer
	faults int
}

func (r *jsonReport) fault(f records.Finding) {
	sep := `{"findings":[`
	if r.faults > 0 {
		sep = ","
	}
	r.faults++
	b, _ := json.Marshal(f)               // it holds nothing that cannot be
	_, _ = r.out.WriteString(sep + "\n ") // Flush tells
	_, _ = r.out.Write(b)                 // Flush tells
}

func (r *jsonReport) note(records.Finding) {}

func (r *jsonReport) end(s records.Summary) error {
	if r.faults == 0 {
		_, _ = r.out.WriteString(`{"findings":[`) // Flush tells
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.out, "],\n%s\n", b[1:]) // Flush tells
	return r.out.Flush()
}
