package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
	"tcpmux/daemon/record"
)

// How tail waits for the next daemon: how often it asks, for how long, and how long a connection
// has to last before it counts.
const (
	reconnectPause = 250 * time.Millisecond
	reconnectLimit = time.Minute
	steady         = time.Second
)

// tailFlags are the flags of tail.
type tailFlags struct {
	flags
	api.Filter
	source string
}

func (c *Console) tailCommand() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show records as they are written",
		Long: `tail shows records as the daemon writes them, whichever file they go to: those
of all clients, of a listener, of a source, or of one session. A record has the
form of a text record, whatever the format of the file is: what clients send is
escaped, so that it can neither forge a line nor control a terminal. --json
prints one JSON object for each record on a line.

tail never slows a client. If it cannot keep up, the daemon leaves records out
and counts them; standard error says how many were missed (with --json, a
record of the kind "missed" does).

When the daemon restarts, tail says so on standard error and goes on with the
next process; it waits for it for up to a minute. With --session, tail ends
when the session does. Records that were written before are in the record file:
see "tcpmux cat" and tail(1).

Exit status: 0 when the session of --session has ended, 1 when the daemon did
not answer, 64 for a usage error, 130 after Ctrl-C.`,
		Example: `  tcpmux tail
  tcpmux tail --listener scanners --source 192.0.2.0/24
  tcpmux tail --session 8f3a-2c
  tcpmux tail --json | jq -r 'select(.kind == "close").reason'`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if err := cli.AtMost(0)(cmd, args); err != nil {
				return err
			}
			f.Source, err = source(f.source)
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd, &f.flags, func(ctx context.Context, d Daemon) error {
				if err := known(ctx, d, f.Filter); err != nil {
					return err
				}
				return newTail(c.Stdout, c.Stderr, f.json).run(ctx, d, f.Filter)
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Listener, "listener", "", "only records of the listener `NAME`")
	flags.StringVar(&f.source, "source", "", "only records of clients from `SOURCE`: an address, a network such as 192.0.2.0/24, or uid=N for a user at unix sockets")
	flags.StringVar(&f.ID, "session", "", "only records of the session `ID`, until it ends")
	f.add(cmd, "print one JSON object for each record")
	c.completeFlag(cmd, "listener", &f.flags, listenerNames)
	c.completeFlag(cmd, "session", &f.flags, sessionIDs)
	return cmd
}

// known returns an error if there is no such listener or session, of which nothing would ever come.
func known(ctx context.Context, d Daemon, f api.Filter) error {
	if f.ID != "" {
		_, err := d.Session(ctx, f.ID)
		return err
	}
	if f.Listener == "" {
		return nil
	}
	s, err := d.Status(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, l := range s.Listeners {
		if names = append(names, l.Name); l.Name == f.Listener {
			return nil
		}
	}
	return fmt.Errorf("there is no listener %q, want one of %q", f.Listener, names)
}

// errSessionEnded ends a tail of one session.
var errSessionEnded = errors.New("the session has ended")

// tail writes records. Writing is a goroutine's, which writes many at once when they come fast.
type tail struct {
	out, errs io.Writer
	json      bool
	enc       *record.Encoder
	records   chan api.Record
	cancel    context.CancelCauseFunc
}

func newTail(out, errs io.Writer, json bool) *tail {
	return &tail{out: out, errs: errs, json: json, enc: record.NewEncoder(record.Text), records: make(chan api.Record, 1024)}
}

// run writes records until ctx is done, the session of f ends, or no daemon is there.
func (t *tail) run(ctx context.Context, d Daemon, f api.Filter) error {
	ctx, t.cancel = context.WithCancelCause(ctx)
	defer t.cancel(nil)
	written := make(chan error, 1)
	go func() { written <- t.write() }()
	err := t.follow(ctx, d, f)
	close(t.records)
	if werr := <-written; werr != nil {
		return werr
	}
	if errors.Is(err, errSessionEnded) {
		return nil
	}
	return err
}

// follow reads records, and goes on with the next daemon process when one ends.
func (t *tail) follow(ctx context.Context, d Daemon, f api.Filter) error {
	var lost time.Time // since when there was no daemon
	for {
		began, some := time.Now(), false
		err := d.Tail(ctx, f, func(r api.Record) error {
			if some = true; !lost.IsZero() {
				lost = time.Time{}
			}
			return t.take(ctx, r, f.ID)
		})
		wasThere := connectionLost(err)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !wasThere && (lost.IsZero() || !absent(err)):
			return err
		case wasThere && (some || time.Since(began) >= steady):
			lost = time.Time{}
		}
		if lost.IsZero() {
			lost = time.Now()
			fmt.Fprintln(t.errs, "tcpmux: tail: the daemon restarts or has ended; waiting for the next one")
		}
		if time.Since(lost) >= reconnectLimit {
			return err
		}
		select {
		case <-time.After(reconnectPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// connectionLost reports whether err is the end of a tail that had begun.
func connectionLost(err error) bool {
	return errors.Is(err, client.ErrRestart) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// absent reports whether err is that of a daemon that may still come. A socket that systemd makes
// anew is closed to its group for a moment.
func absent(err error) bool {
	return errors.Is(err, client.ErrNotRunning) || errors.Is(err, client.ErrNoAnswer) || errors.Is(err, client.ErrDenied)
}

// take has a record written.
func (t *tail) take(ctx context.Context, r api.Record, session string) error {
	select {
	case t.records <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if session != "" && r.Kind == "close" && r.Session == session {
		return errSessionEnded
	}
	return nil
}

// write writes records until there are no more, or writing fails, which ends the tail.
func (t *tail) write() error {
	var buf []byte
	flush := func() error {
		_, err := t.out.Write(buf)
		buf = buf[:0]
		return err
	}
	for r := range t.records {
		var err error
		if r.Kind == api.KindMissed && !t.json {
			if err = flush(); err == nil {
				fmt.Fprintf(t.errs, "tcpmux: tail: missed %s\n", text.Number(r.Records, "record"))
			}
		} else if buf, err = t.append(buf, &r); err == nil && (len(t.records) == 0 || len(buf) > 64<<10) {
			err = flush()
		}
		if err != nil {
			t.cancel(err)
			for range t.records { // until it is closed: whoever sends must not wait
			}
			return err
		}
	}
	return flush()
}

// tlsOf returns what a record tells of a client's TLS. The encoder escapes the client's words.
func tlsOf(t *api.TLS) *record.TLS {
	if t == nil {
		return nil
	}
	return &record.TLS{Version: text.ASCII(t.Version), Cipher: text.ASCII(t.Cipher), ServerName: t.SNI, Subject: t.Subject}
}

// append appends a record.
func (t *tail) append(dst []byte, r *api.Record) ([]byte, error) {
	if t.json {
		b, err := text.JSON(r, false)
		return append(dst, b...), err
	}
	t.enc.Begin(&record.Source{Remote: text.ASCII(r.Remote), Proxy: text.ASCII(r.Proxy), Mux: text.ASCII(r.Mux), TLS: tlsOf(r.TLS)}, r.Time)
	switch r.Kind {
	case "open":
		dst = t.enc.Open(dst)
	case "close":
		dst = t.enc.Close(dst, text.ASCII(r.Reason), r.Records, r.Bytes)
	case "message":
		dst = t.enc.Message(dst, &record.Message{Raw: r.Data, Flag: text.ASCII(r.Flag)})
	}
	return dst, nil
}
