package control

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tcpmux/daemon/control/api"
	"tcpmux/internal/await"
)

// fakeDaemon does what its fields say.
type fakeDaemon struct {
	status   api.Status
	list     api.Sessions
	hang     chan struct{} // closed: calls return; nil: at once
	panics   bool
	records  chan api.Record
	unwell   error
	reloaded api.Reloaded

	mu      sync.Mutex
	filters []api.Filter
	killed  []api.Filter
	open    int // subscriptions
}

func (d *fakeDaemon) wait(ctx context.Context) error {
	if d.panics {
		panic("a bug")
	}
	if d.hang == nil {
		return nil
	}
	select {
	case <-d.hang:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *fakeDaemon) Status(ctx context.Context) (api.Status, error) { return d.status, d.wait(ctx) }

func (d *fakeDaemon) Sessions(f api.Filter) api.Sessions {
	d.mu.Lock()
	d.filters = append(d.filters, f)
	d.mu.Unlock()
	_ = d.wait(context.Background()) // the hang has no end by a context
	return d.list
}

func (d *fakeDaemon) Session(id string) (detail api.Detail, ok bool) {
	for _, s := range d.list.Sessions {
		if s.ID == id {
			return api.Detail{Session: s}, true
		}
	}
	return detail, false
}

func (d *fakeDaemon) Kill(f api.Filter) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.killed = append(d.killed, f)
	if f.ID == "none" {
		return 0
	}
	return 2
}

func (d *fakeDaemon) Drain(ctx context.Context, listener string, on bool) (api.Drained, error) {
	if listener != "tcpmux" {
		return api.Drained{}, ErrNotFound
	}
	return api.Drained{Listener: listener, Draining: on, Clients: 3}, d.wait(ctx)
}

func (d *fakeDaemon) Rotate(ctx context.Context) (api.Rotated, error) {
	return api.Rotated{Files: []string{"records.log"}}, d.wait(ctx)
}

func (d *fakeDaemon) Reload(ctx context.Context) (api.Reloaded, error) {
	return d.reloaded, d.wait(ctx)
}

func (d *fakeDaemon) Alive(context.Context) error { return d.unwell }

func (d *fakeDaemon) Metrics(ctx context.Context, w io.Writer) error {
	_, _ = io.WriteString(w, "tcpmux_up 1\n")
	return d.wait(ctx)
}

func (d *fakeDaemon) Tail(f api.Filter) Subscription {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.filters = append(d.filters, f)
	d.open++
	return &fakeSubscription{d}
}

type fakeSubscription struct{ d *fakeDaemon }

func (s *fakeSubscription) Next(ctx context.Context) (api.Record, error) {
	select {
	case rec := <-s.d.records:
		return rec, nil
	case <-ctx.Done():
		return api.Record{}, ctx.Err()
	}
}

func (s *fakeSubscription) Close() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.open--
}

func (d *fakeDaemon) subscriptions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// rig is a server on a real unix socket and a real TCP port.
type rig struct {
	*Server
	path   string // of the unix socket
	status string // address
	log    *lines
}

// serve starts a server for d whose peers are as uid; nil takes the real ones.
func serve(t *testing.T, d *fakeDaemon, uid func() uint32, change func(*limits)) *rig {
	t.Helper()
	r := &rig{log: &lines{}, path: filepath.Join(t.TempDir(), "control")}
	opt := Options{Daemon: d, Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if uid != nil {
		opt.Peer = func(net.Conn) (Peer, error) { return Peer{UID: uid(), PID: 7}, nil }
	}
	r.Server = newServer(opt, func(l *limits) {
		if change != nil {
			change(l)
		}
	})
	unix, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.status = tcp.Addr().String()
	var wg sync.WaitGroup
	for _, f := range []func() error{func() error { return r.Serve(unix) }, func() error { return r.ServeStatus(tcp) }} {
		wg.Go(func() {
			if err := f(); err != nil {
				t.Errorf("serve: got %v, want no error", err)
			}
		})
	}
	t.Cleanup(func() {
		_ = r.Close()
		wg.Wait()
	})
	return r
}

// ask sends a request to the unix socket, or to the status address if tcp, and returns the answer.
func (r *rig) ask(t *testing.T, method, target string, tcp bool) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.do(t, req, tcp)
}

func (r *rig) do(t *testing.T, req *http.Request, tcp bool) (*http.Response, string) {
	t.Helper()
	resp, err := r.client(tcp).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read: %v", req.Method, req.URL, err)
	}
	return resp, string(text)
}

func (r *rig) client(tcp bool) *http.Client {
	dial := func(context.Context, string, string) (net.Conn, error) {
		if tcp {
			return net.Dial("tcp", r.status)
		}
		return net.Dial("unix", r.path)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// lines is a log of a test.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// as returns the uid of every peer.
func as(uid uint32) func() uint32 { return func() uint32 { return uid } }

// eventually waits for what must come.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	await.Until(t, is, func() { t.Errorf("got no %s, want it", what) })
}
