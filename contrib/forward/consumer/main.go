// Command consumer gives back the exact bytes that clients sent, from the stream that
// tcpmux-forward delivers to. It is an example to copy from, and of use as it is.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `Usage: consumer --server URL (--session ID | --remote ADDRESS | --listener NAME) [FLAGS]

Writes to standard output what the selected clients sent, byte for byte, in the order in which it
was recorded. What is missing or comes twice is told on standard error, and the exit status is 1.
Without --session, closed sessions are forgotten, and what comes twice of them is not told.

`

// The exit statuses, as in sysexits.h where there is one.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with everything that a test replaces.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opt, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "consumer: %v; see \"consumer --help\"\n", err)
		return exitUsage
	}
	out := bufio.NewWriterSize(stdout, 64<<10)
	ledger := newLedger(opt, out, func(what string) { fmt.Fprintln(stderr, "consumer: "+what) })
	err = read(ctx, opt, ledger.message)
	if err = errors.Join(err, out.Flush()); err != nil {
		fmt.Fprintf(stderr, "consumer: %v\n", err)
		return exitFailed
	}
	if ledger.records == 0 {
		fmt.Fprintf(stderr, "consumer: stream %q has no record of what was selected\n", opt.stream)
		return exitFailed
	}
	if ledger.faults > 0 {
		return exitFailed
	}
	return exitOK
}

// options are what the flags say.
type options struct {
	server, stream, subject, domain string
	creds, ca, cert, key, inbox     string
	session, remote, listener       string
	client                          string
	since                           time.Time
	lines, toEnd                    bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("consumer", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run tells the error
	fs.StringVar(&o.server, "server", "nats://127.0.0.1:4222", "`URL` of the server, or several separated by commas")
	fs.StringVar(&o.stream, "stream", "TCPMUX", "`name` of the stream")
	fs.StringVar(&o.subject, "subject", "", "read only messages of this subject, such as \"tcpmux.web1.*.*\", so that the server sends less")
	fs.StringVar(&o.domain, "domain", "", "`name` of the JetStream domain")
	fs.StringVar(&o.creds, "creds", "", "`file` with the user's credentials")
	fs.StringVar(&o.ca, "ca", "", "`file` with the certificates that the server's is checked against")
	fs.StringVar(&o.cert, "cert", "", "`file` with a certificate for the server")
	fs.StringVar(&o.key, "key", "", "`file` with the certificate's key")
	fs.StringVar(&o.inbox, "inbox", "_INBOX", "`prefix` of the subjects to which the server answers")
	fs.StringVar(&o.session, "session", "", "select the session with this `ID`")
	fs.StringVar(&o.remote, "remote", "", "select clients of this `address`, or ADDRESS:PORT")
	fs.StringVar(&o.listener, "listener", "", "select clients of the listener with this `name`")
	fs.StringVar(&o.client, "client", "", "select clients whose certificate has this `subject`, such as \"CN=scanner-7,O=Example\"")
	fs.BoolVar(&o.lines, "lines", false, "write the records, as tcpmux has written them to its file, and not what they hold")
	fs.BoolVar(&o.toEnd, "to-end", false, "with --session, do not end when the session is closed, but look for repetitions behind it")
	fs.Func("since", "read only what reached the stream at this `time` or later, such as 2026-11-29T00:00:00Z", func(s string) (err error) {
		o.since, err = time.Parse(time.RFC3339, s)
		return err
	})
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
		return o, err
	case err != nil:
		return o, err
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.session == "" && o.remote == "" && o.listener == "" && o.client == "":
		return o, errors.New("nothing is selected: want --session, --remote, --listener or --client")
	case (o.cert == "") != (o.key == ""):
		return o, errors.New("want --cert and --key together")
	}
	return o, nil
}
