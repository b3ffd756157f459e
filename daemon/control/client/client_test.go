package client

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/daemon/control/api"
)

// answering returns a client of a socket on which h answers.
func answering(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-ended
	})
	c := Dial(path)
	t.Cleanup(c.Close)
	return c
}

// TestRequests: each method asks for its path.
func TestRequests(t *testing.T) {
	var got string
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.String()
		_, _ = w.Write([]byte("{}"))
	})
	ctx := t.Context()
	f := api.Filter{Listener: "a", Source: "10.0.0.0/8", Idle: 1.5, MinBytes: 2, Sort: "-heard", Limit: 3}
	one := api.Filter{ID: "x-1"}
	for want, call := range map[string]func() error{
		"GET /v1/status": func() error { _, err := c.Status(ctx); return err },
		"GET /v1/sessions?idle=1.5&limit=3&listener=a&min_bytes=2&sort=-heard&source=10.0.0.0%2F8": func() error { _, err := c.Sessions(ctx, f); return err },
		"GET /v1/sessions":                                   func() error { _, err := c.Sessions(ctx, api.Filter{}); return err },
		"GET /v1/sessions/a%2Fb":                             func() error { _, err := c.Session(ctx, "a/b"); return err },
		"DELETE /v1/sessions/x-1":                            func() error { _, err := c.Kill(ctx, one); return err },
		"DELETE /v1/sessions?listener=a&source=10.0.0.0%2F8": func() error { _, err := c.Kill(ctx, f); return err },
		"DELETE /v1/sessions?all=true":                       func() error { _, err := c.KillAll(ctx); return err },
		"POST /v1/listeners/tcpmux/drain":                    func() error { _, err := c.Drain(ctx, "tcpmux"); return err },
		"POST /v1/listeners/tcpmux/undrain":                  func() error { _, err := c.Undrain(ctx, "tcpmux"); return err },
		"POST /v1/rotate":                                    func() error { _, err := c.Rotate(ctx); return err },
		"POST /v1/reload":                                    func() error { _, err := c.Reload(ctx); return err },
		"GET /v1/tail?session=x-1": func() error {
			return c.Tail(ctx, one, func(api.Record) error { return errors.New("enough") })
		},
	} {
		got = ""
		if err := call(); err != nil && err.Error() != "enough" || got != want {
			t.Errorf("got %q and error %v, want %q", got, err, want)
		}
	}
}

// TestErrors: each is one line, and is of its kind.
func TestErrors(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	fails := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(api.Error{Error: text})
		}
	}
	stale := filepath.Join(t.TempDir(), "stale")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	for name, c := range map[string]struct {
		client *Client
		kind   error
		want   string
	}{
		"no socket":        {Dial(filepath.Join(t.TempDir(), "none")), ErrNotRunning, `none": start it with systemctl start tcpmux.socket`},
		"nobody listens":   {Dial(stale), ErrNotRunning, "tcpmux is not running: nobody listens on"},
		"may not":          {answering(t, fails(403, "want root")), ErrDenied, "want root"},
		"starting":         {answering(t, fails(503, "starting")), ErrNoAnswer, "starting"},
		"not there":        {answering(t, fails(404, "no such\nthing")), ErrNotFound, "no such; thing"},
		"hangs":            {answering(t, silent), ErrNoAnswer, "the daemon does not answer within 50ms"},
		"closes":           {answering(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), ErrNoAnswer, "closed the connection"},
		"no JSON":          {answering(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>\n\x1b[31m", 500) }), nil, `500 Internal Server Error: "<h1>"`},
		"not even a start": {answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{")) }), ErrNoAnswer, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "hangs" {
				c.client.read = 50 * time.Millisecond
			}
			_, err := c.client.Status(t.Context())
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got error %v, want one line with %q that is %v", err, c.want, c.kind)
			}
			if name != "not even a start" {
				if err := c.client.Tail(t.Context(), api.Filter{}, nil); c.kind != nil && !errors.Is(err, c.kind) {
					t.Errorf("tail: got error %v, want one that is %v", err, c.kind)
				}
			}
		})
	}
}

// TestErrorsOfConnect are those that a test as root cannot cause.
func TestErrorsOfConnect(t *testing.T) {
	c := Dial("")
	for cause, want := range map[error]struct {
		kind error
		text string
	}{
		syscall.EACCES: {ErrDenied, `permission denied: connect to "/run/tcpmux/control": want root or a member of group adm`},
		syscall.EAGAIN: {ErrNoAnswer, `too many connections wait at "/run/tcpmux/control"`},
	} {
		err := c.explain(t.Context(), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", cause)})
		if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%v: got %v, want %q", cause, err, want.text)
		}
	}
}

// TestAFullBacklogIsWaitedFor: a client dials again, and comes in when there is room.
func TestAFullBacklogIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EAGAIN)}
		attempts := 0
		dial := patient(func(context.Context) (net.Conn, error) {
			if attempts++; attempts < 5 {
				return nil, full
			}
			return nil, syscall.ECONNREFUSED
		})
		if _, err := dial(t.Context(), "", ""); err != syscall.ECONNREFUSED || attempts != 5 {
			t.Errorf("got error %v after %d attempts, want that of the fifth", err, attempts)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dial = patient(func(context.Context) (net.Conn, error) { return nil, full })
		if _, err := dial(ctx, "", ""); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("backlog that stays full: got error %v, want %v", err, syscall.EAGAIN)
		}
	})
}

// TestTailEnds as each of those that take part wants.
func TestTailEnds(t *testing.T) {
	lines := make(chan string)
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		_ = out.Flush()
		for line := range lines {
			if line == "" {
				return
			}
			_, _ = w.Write([]byte(line + "\n"))
			_ = out.Flush()
		}
	})
	tail := func(ctx context.Context, each func(api.Record) error) <-chan error {
		end := make(chan error, 1)
		go func() { end <- c.Tail(ctx, api.Filter{}, each) }()
		return end
	}
	enough := errors.New("enough")
	end := tail(t.Context(), func(rec api.Record) error {
		if string(rec.Data) != "hello" {
			t.Errorf("got %q, want hello", rec.Data)
		}
		return enough
	})
	lines <- `{"kind":"message","data":"aGVsbG8="}`
	if err := <-end; err != enough {
		t.Errorf("reader: got %v, want its error", err)
	}
	lines <- ""

	end = tail(t.Context(), nil)
	lines <- `{"kind":"restart"}`
	if err := <-end; err != ErrRestart {
		t.Errorf("daemon: got %v, want ErrRestart", err)
	}
	lines <- ""

	end = tail(t.Context(), nil)
	lines <- ""
	if err := <-end; err == nil || !strings.Contains(err.Error(), "ended or closed") {
		t.Errorf("connection: got %v, want that it was closed", err)
	}

	seen := make(chan bool)
	ctx, cancel := context.WithCancelCause(t.Context())
	end = tail(ctx, func(api.Record) error { close(seen); return nil })
	lines <- `{"kind":"open"}`
	<-seen
	cancel(enough)
	if err := <-end; err != enough {
		t.Errorf("context: got %v, want its cause", err)
	}
	close(lines)
}
