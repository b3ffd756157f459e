package observe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/internal/await"
)

// fake is a Source that says what its fields say.
type fake struct {
	status api.Status

	mu             sync.Mutex
	unwell, unable error
}

func (f *fake) Status() api.Status { return f.status }

func (f *fake) Healthy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unwell
}

func (f *fake) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unable
}

func (f *fake) become(unwell, unable error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unwell, f.unable = unwell, unable
}

// busy returns a source with something in each field, and hostile names.
func busy() *fake {
	at := time.Unix(1_700_000_000, 500_000_000).UTC()
	return &fake{status: api.Status{
		Version: "1.2.3", Started: at, State: api.Delivering, Since: at, Server: "nats://127.0.0.1:4222", ServerVersion: "2.12.0",
		Stream: "TCPMUX", Host: "a", Mode: "atomic", Sequence: 77, Records: 12, Bytes: 3456, Rate: 1.5,
		Lag: api.Lag{Bytes: 100, Records: 2, Seconds: 0.25}, Acknowledged: at, Connects: 3, Failures: 4, Rollbacks: 1, Skipped: 5,
		Files: []api.File{
			{Path: "/x/records.log", File: "/x/records.log.1", Offset: 9, Lag: 100},
			{Path: "/x/a\"b\\c\nd\xff.log", Error: "no"},
		},
	}}
}

// log is a log that a test reads while it is written.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func started(t *testing.T, source Source, path string, addresses ...string) (*Server, *log) {
	t.Helper()
	l := new(log)
	s := start(source, slog.New(slog.NewTextHandler(l, nil)), path, addresses, time.Millisecond)
	t.Cleanup(s.Close)
	return s, l
}

// free returns an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func get(t *testing.T, address, path, host string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestAsk(t *testing.T) {
	source, path := busy(), filepath.Join(t.TempDir(), "control")
	source.status.Files[1].Path = "/y" // JSON has no bytes that are not UTF-8
	s, _ := started(t, source, path)
	got, err := Ask(t.Context(), path)
	if err != nil || !reflect.DeepEqual(got, source.status) {
		t.Errorf("got %+v and error %v, want %+v", got, err, source.status)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("got mode %v, error %v, want nothing for others", info.Mode(), err)
	}
	s.Listen(nil)
	s.socket.end()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: got error %v, want that there is no file", err)
	}
	if _, err := Ask(t.Context(), path); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("after the end: got error %v, want %v with the path", err, ErrNotRunning)
	}
}

func TestAnAnswerOfSomebodyElseIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	t.Cleanup(func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }()
	if _, err := Ask(t.Context(), path); err == nil || !strings.Contains(err.Error(), "is it the control socket of tcpmux-forward?") {
		t.Errorf("got error %v, want a question about the path", err)
	}
}

func TestPaths(t *testing.T) {
	source, address := busy(), free(t)
	started(t, source, filepath.Join(t.TempDir(), "control"), address)
	for _, c := range []struct {
		name, path, host string
		unwell, unable   error
		status           int
		body             string
	}{
		{"status", "/v1/status", "", nil, nil, 200, `"state":"delivering"`},
		{"metrics", "/metrics", "", nil, nil, 200, "tcpmux_forward_records_total 12\n"},
		{"healthy", "/healthz", "", nil, errors.New("no connection"), 200, "ok\n"},
		{"not healthy", "/healthz", "", errors.New("blocked: who knows"), nil, 503, "blocked: who knows\n"},
		{"ready", "/readyz", "", errors.New("hangs"), nil, 200, "ok\n"},
		{"not ready", "/readyz", "", nil, errors.New("no connection"), 503, "no connection\n"},
		{"nothing there", "/", "", nil, nil, 404, `{"error":"there is nothing at this path: want /v1/status, /metrics, /healthz or /readyz"}`},
		{"a name that leads here", "/v1/status", "evil.example", nil, nil, 421, `{"error":"the Host is neither`},
	} {
		t.Run(c.name, func(t *testing.T) {
			source.become(c.unwell, c.unable)
			status, body := get(t, address, c.path, c.host)
			if status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("got %d and %q, want %d and %q", status, body, c.status, c.body)
			}
		})
	}
	resp, err := http.Post("http://"+address+"/v1/status", "", nil)
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %v (%v), want 405", resp, err)
	}
	_ = resp.Body.Close()
}

// TestAnAddressInUseIsTriedAgain, and keeps no other from being served. A reload gives an address
// back.
func TestAnAddressInUseIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first, second := taken.Addr().String(), free(t)
	s, l := started(t, busy(), filepath.Join(t.TempDir(), "control"), first, second)
	if got, want := l.String(), "status is not served, trying again"; strings.Count(got, want) != 1 || !strings.Contains(got, first) {
		t.Errorf("got log %q, want once %q", got, want)
	}
	if status, _ := get(t, second, "/healthz", ""); status != 200 {
		t.Errorf("the other address: got %d, want 200", status)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, func() bool { return strings.Contains(l.String(), `msg="status is served"`) }, func() {
		t.Errorf("got log %q, want that the address is served", l.String())
	})
	if status, _ := get(t, first, "/healthz", ""); status != 200 {
		t.Errorf("the address when it is free: got %d, want 200", status)
	}
	s.Listen([]string{first})
	if ln, err := net.Listen("tcp", second); err != nil {
		t.Errorf("an address that is not listed any more: got error %v, want that it is free", err)
	} else {
		_ = ln.Close()
	}
	if status, _ := get(t, first, "/healthz", ""); status != 200 {
		t.Errorf("the address that stayed: got %d, want 200", status)
	}
}

func TestSocketPath(t *testing.T) {
	for _, c := range []struct{ name, runtime, want string }{
		{"by hand", "", "/var/lib/x/control"},
		{"under systemd", "/run/tcpmux-forward", "/run/tcpmux-forward/control"},
		{"several", "/run/a:/run/b", "/run/a/control"},
	} {
		t.Setenv("RUNTIME_DIRECTORY", c.runtime)
		if got := SocketPath("/var/lib/x"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	got := string(Metrics(busy()))
	for _, want := range []string{
		"tcpmux_forward_build_info{version=\"1.2.3\",goversion=",
		"tcpmux_forward_state{state=\"connecting\"} 0\ntcpmux_forward_state{state=\"delivering\"} 1\n",
		"tcpmux_forward_healthy 1\n", "tcpmux_forward_ready 1\n", "tcpmux_forward_connected 1\n",
		"tcpmux_forward_bytes_total 3456\n", "tcpmux_forward_last_sequence 77\n", "tcpmux_forward_last_ack_timestamp_seconds 1.7000000005e+09\n",
		"tcpmux_forward_lag_bytes 100\n", "tcpmux_forward_lag_records 2\n", "tcpmux_forward_lag_seconds 0.25\n",
		"tcpmux_forward_connects_total 3\n", "tcpmux_forward_failures_total 4\n", "tcpmux_forward_rollbacks_total 1\n",
		"tcpmux_forward_skipped_lines_total 5\n", "tcpmux_forward_file_lag_bytes{file=\"/x/records.log\"} 100\n",
		`tcpmux_forward_file_failing{file="/x/a\"b\\c\nd` + "\ufffd" + `.log"} 1` + "\n", "\ngo_goroutines ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
}

// TestPromtoolAcceptsMetrics is the format as Prometheus itself checks it.
func TestPromtoolAcceptsMetrics(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v: as root, apt-get install prometheus", err)
	}
	for name, source := range map[string]*fake{"full": busy(), "empty": {unwell: errors.New("x"), unable: errors.New("y")}} {
		cmd := exec.CommandContext(context.Background(), path, "check", "metrics")
		cmd.Stdin = bytes.NewReader(Metrics(source))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: got %v and\n%s, want no complaint", name, err, out)
		}
	}
}
