package worker

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/conn/conntest"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/record"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
)

// text is what was written so far.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.Write(b)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.String()
}

// fixture is a session that a pool's worker is to serve, and what is recorded and logged of it.
type fixture struct {
	*session.Session
	out, log text
}

// newFixture returns a session of a listener of model process, with a change made to that.
func newFixture(pool *Pool, c conn.Conn, change func(*session.Config)) *fixture {
	f := new(fixture)
	pool.log = slog.New(slog.NewTextHandler(&f.log, nil))
	listener := config.Default().Listeners[0]
	listener.Model, listener.Banner = "process", config.Text("hello\r\n")
	settings := session.NewSettings(listener, 0)
	settings.Service, settings.Sink = pool.Service, sink.New(&f.out, func(error) {})
	var bounds atomic.Pointer[session.Bounds]
	bounds.Store(session.BoundsOf(listener))
	cfg := session.Config{
		Env: &session.Env{
			Buffers: session.NewBuffers(func() session.Encoder { return record.NewEncoder(record.Text) }),
			Spill:   session.NewSpill(),
			Log:     pool.log,
			Lines:   logging.SessionLines(),
			Visits:  &logging.Visits{},
		},
		Settings: settings,
		Bounds:   &bounds,
		Conn:     c,
		Source:   record.Source{Listener: "test", Session: "1", Remote: "192.0.2.1:1"},
		Opened:   time.Now(),
	}
	if change != nil {
		change(&cfg)
	}
	f.Session = session.New(cfg)
	return f
}

// start runs the session. The returned channel is closed when it has ended.
func (f *fixture) start() (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		f.Run()
	}()
	return ended
}

// logged checks that every text is in the log once.
func (f *fixture) logged(t *testing.T, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if n := strings.Count(f.log.String(), want); n != 1 {
			t.Errorf("log: %q %d times, want once:\n%s", want, n, f.log.String())
		}
	}
}

// fakeConn is a connection in memory that can be passed to a process, which gets another file.
type fakeConn struct {
	*conntest.Conn
	file *os.File
}

func (c fakeConn) Control(f func(fd uintptr)) { f(c.file.Fd()) }

func newFakeConn(t testing.TB) fakeConn {
	t.Helper()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return fakeConn{conntest.New(), file}
}

// newFakeWorker returns a worker without a process, and the end of the channel that it would have.
func newFakeWorker(t testing.TB) (w *worker, theirs *os.File) {
	t.Helper()
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	w = newWorker(ours)
	w.process = endedProcess()
	return w, theirs
}

// endedProcess is a process that has ended and was reaped.
var endedProcess = sync.OnceValue(func() *os.Process {
	cmd := exec.Command("true")
	_ = cmd.Run() // how it ends does not matter
	return cmd.Process
})
