package daemon

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// TestMain is also the process of a session and the starter of programs: a daemon in a test starts
// its own executable for those, as any daemon does.
func TestMain(m *testing.M) { servertest.Main(m) }

// TestEveryModelKeepsThePromises, whichever model the first listener has.
func TestEveryModelKeepsThePromises(t *testing.T) { servertest.EveryModel(t, "Program") }

// running is a daemon that Run runs in a test, and how to reload it.
type running struct {
	t       *testing.T
	dir     string
	cfg     config.Config // of the last reload that was not refused
	reloads chan Reload
	reopens chan struct{}
	load    atomic.Pointer[Reload] // of a reload by the control socket; nil: of cfg
	log     *servertest.FakeFile
	stop    context.CancelFunc
}

// run runs a daemon until the end of the test.
func run(t *testing.T, change ...func(*config.Config)) *running {
	t.Helper()
	r := &running{
		t: t, dir: t.TempDir(), cfg: config.Default(),
		reloads: make(chan Reload), reopens: make(chan struct{}), log: &servertest.FakeFile{},
	}
	r.cfg.Listeners[0].Address = []string{freeAddress(t)}
	r.cfg.Record.File = filepath.Join(r.dir, "records.log")
	r.cfg.Record.Compress, r.cfg.Record.MaxBackups = false, 0
	r.cfg.DrainTimeout, r.cfg.Log.Level = time.Minute, "debug"
	if model := servertest.Model(); model != "" {
		r.cfg.Listeners[0].Model = model
	}
	for _, f := range change {
		f(&r.cfg)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	ended, cfg := make(chan error, 1), r.cfg
	go func() {
		load := func() (config.Config, error) {
			if f := r.load.Load(); f != nil {
				return (*f)()
			}
			return cfg, nil
		}
		requests := Requests{Reload: r.reloads, Reopen: r.reopens, Load: load, Version: "1.2.3"}
		ended <- Run(ctx, loaded(cfg), requests, r.log)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// loaded returns what loads cfg.
func loaded(cfg config.Config) Reload { return func() (config.Config, error) { return cfg, nil } }

// reload changes the configuration, and returns when that is in force or refused.
func (r *running) reload(change func(*config.Config) error) {
	r.t.Helper()
	done := make(chan struct{})
	next := r.cfg
	next.Listeners = append([]config.Listener(nil), r.cfg.Listeners...)
	err := change(&next)
	r.reloads <- func() (config.Config, error) { return next, err }
	r.reloads <- func() (config.Config, error) { close(done); return next, errors.New("the one before is over") }
	<-done
	if err == nil {
		r.cfg = next
	}
}

// addresses returns the addresses that the daemon listens on, by its log.
func (r *running) addresses() (all []string) {
	r.dial().Close() // it is up
	for line := range strings.Lines(r.log.String()) {
		if _, rest, ok := strings.Cut(line, "msg=listening "); ok {
			_, rest, _ = strings.Cut(rest, "address=")
			address, _, _ := strings.Cut(rest, " ")
			all = append(all, address)
		}
	}
	return all
}

// address returns the address of the first listener, once that listens.
func (r *running) address() string {
	r.dial().Close()
	return r.cfg.Listeners[0].Address[0]
}

// dial connects to the first listener, once that listens.
func (r *running) dial() *net.TCPConn {
	r.t.Helper()
	var conn net.Conn
	var err error
	servertest.Eventually(r.t, func() bool {
		conn, err = net.Dial("tcp", r.cfg.Listeners[0].Address[0])
		return err == nil
	}, func() { r.t.Error(err) })
	r.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// awaitLog returns when the log has a line with all parts.
func (r *running) awaitLog(parts ...string) {
	r.t.Helper()
	servertest.Eventually(r.t, func() bool { return r.log.Line(parts...) != "" },
		func() { r.t.Errorf("log: got no line with %q: %s", parts, r.log) })
}

// awaitLogs returns when the log has n lines with a text.
func (r *running) awaitLogs(n int, text string) {
	r.t.Helper()
	servertest.Eventually(r.t, func() bool { return strings.Count(r.log.String(), text) == n },
		func() { r.t.Errorf("log: got %s, want %d lines with %q", r.log, n, text) })
}

// greeting reads the banner of a connection.
func greeting(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(servertest.Patience))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// readFile returns what a file holds; "" if it does not exist.
func readFile(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}
