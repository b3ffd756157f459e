package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/daemon/control/api"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// hostile is what must not reach a terminal.
const hostile = "\x1b[2J\r\n\u009b31m\u202e\u2028"

// outcome is what a command has done.
type outcome struct {
	status         int
	stdout, stderr string
}

// execute runs a command as the program does. c gets its streams.
func execute(t *testing.T, c Console, args ...string) (o outcome) {
	t.Helper()
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, stderr := collect(t), collect(t)
	c.Stdin, c.Stdout, c.Stderr = stdin, stdout.w, stderr.w
	root := &cobra.Command{Use: "tcpmux", Args: cli.KnownCommand, RunE: func(*cobra.Command, []string) error { return nil }}
	root.AddCommand(c.Commands()...)
	cli.Prepare(root, c.Stdin, c.Stdout, c.Stderr)
	o.status = cli.Execute(t.Context(), root, args, c.Stderr, cli.Hooks{})
	o.stdout, o.stderr = stdout.text(), stderr.text()
	return o
}

// collected is a file whose text is collected.
type collected struct {
	w    *os.File
	b    bytes.Buffer
	done chan struct{}
}

func collect(t *testing.T) *collected {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &collected{w: w, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer r.Close()
		_, _ = io.Copy(&c.b, r) // the text shows what is missing
	}()
	return c
}

func (c *collected) text() string {
	_ = c.w.Close() // nothing is lost: a pipe has no buffer of ours
	<-c.done
	return c.b.String()
}

// serve answers requests at a control socket.
func serve(t *testing.T, h http.HandlerFunc) (path string) {
	t.Helper()
	path = filepath.Join(socketDir(t), "control")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(ln) }() // it ends when it is closed
	t.Cleanup(func() { _ = srv.Close() })
	return path
}

// socketDir is a directory whose name is short enough for the path of a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpmux")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// answer answers every request with a value.
func answer(status int, v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // an error is one of the connection
	}
}

// fake is a daemon inside the test. It notes what it is asked for.
type fake struct {
	Daemon   // nil: what is not below must not be asked for
	mu       sync.Mutex
	calls    []string
	status   api.Status
	sessions []api.Session
	reloaded api.Reloaded
	err      error
	tail     func(ctx context.Context, each func(api.Record) error) error
}

func (d *fake) called(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
}

func (d *fake) asked() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.calls, "; ")
}

func (d *fake) Status(context.Context) (api.Status, error) { return d.status, d.err }

func (d *fake) Sessions(_ context.Context, f api.Filter) (api.Sessions, error) {
	d.called("sessions %+v", f)
	return api.Sessions{Sessions: d.sessions, Total: len(d.sessions)}, d.err
}

func (d *fake) Session(_ context.Context, id string) (api.Detail, error) {
	for _, s := range d.sessions {
		if s.ID == id {
			return api.Detail{Session: s}, nil
		}
	}
	return api.Detail{}, fmt.Errorf("there is no session %q", id)
}

func (d *fake) Kill(_ context.Context, f api.Filter) (int, error) {
	d.called("kill %+v", f)
	if f.ID != "" {
		if _, err := d.Session(context.Background(), f.ID); err != nil {
			return 0, err
		}
		return 1, nil
	}
	return len(d.sessions), d.err
}

func (d *fake) KillAll(context.Context) (int, error) {
	d.called("kill all")
	return len(d.sessions), d.err
}

func (d *fake) Drain(_ context.Context, name string) (api.Drained, error) {
	return api.Drained{Listener: name, Draining: true, Clients: 3}, d.err
}

func (d *fake) Undrain(_ context.Context, name string) (api.Drained, error) {
	return api.Drained{Listener: name, Clients: 1}, d.err
}

func (d *fake) Rotate(context.Context) (api.Rotated, error) {
	return api.Rotated{Files: []string{"/var/log/a.log", hostile}}, d.err
}

func (d *fake) Reload(context.Context) (api.Reloaded, error) { return d.reloaded, d.err }

func (d *fake) Tail(ctx context.Context, f api.Filter, each func(api.Record) error) error {
	d.called("tail %+v", f)
	return d.tail(ctx, each)
}

// at returns a console whose commands ask d.
func at(d Daemon) Console { return Console{Dial: func(string) Daemon { return d }} }

var errWrong = errors.New("it " + hostile + " went wrong")
