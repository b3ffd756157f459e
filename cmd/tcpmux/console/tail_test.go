package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
	"tcpmux/daemon/record"
)

// said returns a message.
func said(data string) api.Record {
	return api.Record{Time: noon, Kind: "message", Listener: "a", Session: "8f-1", Remote: "192.0.2.7:1", Data: []byte(data)}
}

var (
	opened = api.Record{Time: noon, Kind: "open", Session: "8f-1", Remote: "192.0.2.7:1", Proxy: "192.0.2.1:2"}
	closed = api.Record{Time: noon, Kind: "close", Session: "8f-1", Remote: "192.0.2.7:1", Reason: "eof", Records: 2, Bytes: 37}
	missed = api.Record{Kind: api.KindMissed, Records: 5}
)

// sends returns a tail that sends records, and then ends with err.
func sends(err error, records ...api.Record) func(context.Context, func(api.Record) error) error {
	return func(_ context.Context, each func(api.Record) error) error {
		for _, r := range records {
			if err := each(r); err != nil {
				return err
			}
		}
		return err
	}
}

func TestTailWritesTextRecords(t *testing.T) {
	cut := said("cut")
	cut.Flag = "cut"
	d := &fake{tail: sends(errWrong, opened, said("hello\x1b[2J\\\n"), cut, missed, said("last"), closed)}
	o := execute(t, at(d), "tail")
	const stamp = "2026-11-28T12:00:00.000000Z "
	want := stamp + "open from 192.0.2.7:1 via 192.0.2.1:2\n" + stamp + "from 192.0.2.7:1: hello\\x1b[2J\\\\\\x0a\n" + stamp + "from 192.0.2.7:1 [cut]: cut\n" +
		stamp + "from 192.0.2.7:1: last\n" + stamp + "close from 192.0.2.7:1: eof, 2 records, 37 bytes\n"
	if o.stdout != want {
		t.Errorf("got\n%s\nwant\n%s", o.stdout, want)
	}
	if !strings.HasPrefix(o.stderr, "tcpmux: tail: missed 5 records\ntcpmux: tail: it ") || o.status != 1 {
		t.Errorf("got status %d and %q, want 1, what was missed, and the error", o.status, o.stderr)
	}
	parser := record.NewParser(record.Text)
	for _, line := range strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n") {
		if _, err := parser.Parse([]byte(line)); err != nil {
			t.Errorf("%q: got %v, want a record as in a file", line, err)
		}
	}
}

func TestTailWritesJSON(t *testing.T) {
	d := &fake{tail: sends(errWrong, said("hello"), missed)}
	o := execute(t, at(d), "tail", "--json")
	want := `{"time":"2026-11-28T12:00:00Z","kind":"message","listener":"a","session":"8f-1","remote":"192.0.2.7:1","data":"aGVsbG8="}` + "\n" +
		`{"time":"0001-01-01T00:00:00Z","kind":"missed","listener":"","session":"","remote":"","records":5}` + "\n"
	if o.stdout != want || strings.Contains(o.stderr, "missed") {
		t.Errorf("got\n%s and %q, want\n%s", o.stdout, o.stderr, want)
	}
}

func TestTailEscapesAll(t *testing.T) {
	for _, kind := range []string{"message", "open", "close", "missed", hostile} {
		r := api.Record{
			Time: noon, Kind: kind, Listener: hostile, Session: hostile, Remote: hostile, Proxy: hostile, Data: []byte(hostile), Flag: hostile, Reason: hostile,
		}
		for _, args := range [][]string{{"tail"}, {"tail", "--json"}} {
			o := execute(t, at(&fake{tail: sends(errWrong, r)}), args...)
			if all := strings.ReplaceAll(o.stdout+o.stderr, "\n", ""); strings.ContainsFunc(all, control) || strings.Count(o.stdout, "\n") > 1 {
				t.Errorf("%q of kind %q: got %q, want one line that is fit for a terminal", args, kind, all)
			}
		}
	}
}

func TestTailOfASessionEndsWithIt(t *testing.T) {
	other := closed
	other.Session = "8f-2"
	d := &fake{sessions: []api.Session{{ID: "8f-1"}}, tail: sends(errWrong, other, said("x"), closed, said("never"))}
	o := execute(t, at(d), "tail", "--session", "8f-1", "--source", "192.0.2.7")
	if o.status != 0 || o.stderr != "" || strings.Count(o.stdout, "\n") != 3 || strings.Contains(o.stdout, "never") {
		t.Errorf("got %+v, want status 0 and all up to the close", o)
	}
	if want := fmt.Sprintf("tail %+v", api.Filter{ID: "8f-1", Source: "192.0.2.7"}); d.asked() != want {
		t.Errorf("asked for %s, want %s", d.asked(), want)
	}
}

func TestTailOfWhatDoesNotExist(t *testing.T) {
	d := &fake{status: api.Status{Listeners: []api.Listener{{Name: "a"}, {Name: "b"}}}}
	o := execute(t, at(d), "tail", "--listener", "c")
	oneLine(t, o, `tcpmux: tail: there is no listener "c", want one of ["a" "b"]`)
	o = execute(t, at(d), "tail", "--session", "c")
	oneLine(t, o, `tcpmux: tail: there is no session "c"`)
}

// TestTailGoesOnWithTheNextDaemon, whether the one before has said that it leaves, or was killed.
func TestTailGoesOnWithTheNextDaemon(t *testing.T) {
	for _, lost := range []error{client.ErrRestart, io.EOF, fmt.Errorf("tail: %w", io.ErrUnexpectedEOF), syscall.ECONNRESET} {
		synctest.Test(t, func(t *testing.T) {
			tails := []func(context.Context, func(api.Record) error) error{
				sends(lost, said("one")), sends(client.ErrNotRunning), sends(client.ErrDenied),
				sends(client.ErrNoAnswer), sends(lost, said("two")), sends(errWrong),
			}
			var stdout, stderr bytes.Buffer
			err := newTail(&stdout, &stderr, false).run(t.Context(), inTurn(tails), api.Filter{})
			if !errors.Is(err, errWrong) || strings.Count(stdout.String(), "\n") != 2 {
				t.Errorf("%v: got %v and %q, want both records", lost, err, stdout.String())
			}
			if want := strings.Repeat("tcpmux: tail: the daemon restarts or has ended; waiting for the next one\n", 2); stderr.String() != want {
				t.Errorf("%v: got %q, want %q", lost, stderr.String(), want)
			}
		})
	}
}

// inTurn is a daemon whose tails come in turn.
func inTurn(tails []func(context.Context, func(api.Record) error) error) *fake {
	return &fake{tail: func(ctx context.Context, each func(api.Record) error) error {
		next := tails[0]
		tails = tails[1:]
		return next(ctx, each)
	}}
}

// TestTailGivesUp when no daemon comes, or none that lasts.
func TestTailGivesUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		again error
	}{{"none comes", client.ErrNotRunning}, {"none lasts", io.EOF}, {"none lets us in", client.ErrDenied}} {
		synctest.Test(t, func(t *testing.T) {
			first := true
			d := &fake{tail: func(_ context.Context, each func(api.Record) error) error {
				if first {
					first = false
					return errors.Join(each(said("x")), io.EOF)
				}
				return c.again
			}}
			began := time.Now()
			var stdout, stderr bytes.Buffer
			err := newTail(&stdout, &stderr, false).run(t.Context(), d, api.Filter{})
			if took := time.Since(began); !errors.Is(err, c.again) || took != reconnectLimit || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("%s: got %v after %v and %q, want it after %v, said once", c.name, err, took, stderr.String(), reconnectLimit)
			}
		})
	}
}

// TestTailEndsWithItsReader: when standard output is closed, the daemon is read no further.
func TestTailEndsWithItsReader(t *testing.T) {
	d := &fake{tail: func(ctx context.Context, each func(api.Record) error) error {
		for {
			if err := each(said("x")); err != nil {
				return err
			}
		}
	}}
	if err := newTail(broken{}, io.Discard, false).run(t.Context(), d, api.Filter{}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want %v", err, syscall.EPIPE)
	}
}

// broken is a pipe that nobody reads.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestATailTellsTLS(t *testing.T) {
	secured := api.TLS{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", SNI: "a\" subject=\"b", Subject: "CN=\x1b[2J\n\u2028\u202e"}
	open, message, end := opened, said("hello"), closed
	open.Proxy, open.TLS, message.Subject, end.TLS = "", &secured, secured.Subject, &secured
	d := &fake{tail: sends(errWrong, open, message, end)}
	const stamp = "2026-11-28T12:00:00.000000Z "
	const tls = ` tls=1.3 cipher=TLS_AES_128_GCM_SHA256 sni="a\" subject=\"b" subject="CN=\x1b[2J\x0a\u2028\u202e"` + "\n"
	want := stamp + "open from 192.0.2.7:1" + tls + stamp + "from 192.0.2.7:1: hello\n" + stamp + "close from 192.0.2.7:1: eof, 2 records, 37 bytes" + tls
	if o := execute(t, at(d), "tail"); o.stdout != want {
		t.Errorf("got\n%s\nwant\n%s", o.stdout, want)
	}
	o := execute(t, at(d), "tail", "--json")
	for _, want := range []string{
		`"remote":"192.0.2.7:1","tls":{"version":"1.3","cipher":"TLS_AES_128_GCM_SHA256","sni":"a\" subject=\"b","subject":"CN=\u001b[2J\n\u2028\u202e"}`,
		`"remote":"192.0.2.7:1","subject":"CN=\u001b[2J\n\u2028\u202e","data":"aGVsbG8="`,
	} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("got\n%s\nwant it to have %s", o.stdout, want)
		}
	}
}
