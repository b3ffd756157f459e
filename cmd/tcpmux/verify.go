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

// verifyFlags are the flags of verify.
type verifyFlags struct {
	backups, json, verbose bool
}

func verifyCommand(stdin, stdout, stderr *os.File) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Prove that record files are whole",
		Long: fmt.Sprintf(`verify reads record files, compressed ones too, and reports every fault on a line
of its own: FILE:LINE: what.

Each line must be a record in exactly the form that the daemon writes. In JSON
records, the messages of each session must follow each other without gap or
overlap from its opening to its close, and the totals in the close must agree. A
torn last line, as a crash or a full disk leaves it, is distinguished from a hole
of NUL bytes and from bytes that are missing in the middle.

What a crash leaves in order is not a fault, nor is what is still going on:
messages that were recorded again with the same content; a session that goes on
after its close, because the daemon was killed while it wrote that; a session
without a close, which is still open or was open when the daemon was killed; and
a session that began in an earlier file which is not given. These are counted,
and listed with --verbose. A proxy that does not record what clients send has an
opening and a close for each, whose bytes are nowhere else: that is no fault.

Only the named files are read, and with --backups also the files that they were
rotated to. Rotated files are read in the order of the times in their names,
before the file that they come from. A file that the daemon is writing may be
verified at any time. The file - is standard input, such as the output of a
program that unpacks a file. Input that can be read only once is kept in $TMPDIR
for a second reading.

For each file, the first %d faults are reported, and the number of all. With
--json, findings has those faults, and faults is the true number, in total and
for each file.

Text records can prove less: that each line is a record, and that between the
events of an address there are as many records as its close says, and about as
many bytes. The last line says so; it is not a fault.

Exit status: 0 without faults, 1 when there is one or a file cannot be read, 64
for a usage error, 130 after Ctrl-C.`, records.MostFaults),
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
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object with the faults and the summary")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "also report what looks like a fault but is not")
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

// endingWriter stops reading once its output cannot be written.
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

// bar shows progress on stderr, if that is a terminal, until wipe is called. wipe may be called
// again. Meanwhile the report goes to out.
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

// verifyReport prints findings. end returns the first error of writing.
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

// verdict returns the last line.
func verdict(s records.Summary) string {
	switch {
	case !s.Whole:
		return "not whole: " + count(s.Faults, "fault")
	case s.Proven && s.Open+s.Earlier > 0:
		return "whole: no byte is missing between the first record of each session and its last"
	case s.Proven:
		return "whole: every byte of every session is there, from its opening to its close"
	case s.Unproven > 0:
		return fmt.Sprintf("no fault, and no proof: too many sessions were open at once to follow %d of them", s.Unproven)
	}
	return "no fault, and no proof: text records do not say where in the stream they were"
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// jsonReport prints one object, and its faults while they are found.
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
	b, _ := json.Marshal(f)               // it has only types that cannot fail
	_, _ = r.out.WriteString(sep + "\n ") // Flush returns the error
	_, _ = r.out.Write(b)                 // Flush returns the error
}

func (r *jsonReport) note(records.Finding) {}

func (r *jsonReport) end(s records.Summary) error {
	if r.faults == 0 {
		_, _ = r.out.WriteString(`{"findings":[`) // Flush returns the error
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.out, "],\n%s\n", b[1:]) // Flush returns the error
	return r.out.Flush()
}
