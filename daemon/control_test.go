package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/control"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/systemd"
)

// controlled by a control socket of its own.
func withControl(path string) func(*config.Config) {
	return func(c *config.Config) { c.Control = path }
}

// console returns a client of a daemon's control socket, once that answers.
func console(t *testing.T, path string) *client.Client {
	t.Helper()
	c := client.Dial(path)
	t.Cleanup(c.Close)
	var err error
	servertest.Eventually(t, func() bool {
		_, err = c.Status(t.Context())
		return err == nil
	}, func() { t.Error(err) })
	return c
}

// follow begins to follow all records, and returns once the first has come, which visits cause. The
// error is that of the end.
func (r *running) follow(c *client.Client) (<-chan api.Record, <-chan error) {
	r.t.Helper()
	records, end := make(chan api.Record, 1000), make(chan error, 1)
	go func() {
		end <- c.Tail(context.WithoutCancel(r.t.Context()), api.Filter{}, func(rec api.Record) error {
			records <- rec
			return nil
		})
	}()
	servertest.Eventually(r.t, func() bool {
		_ = r.dial().Close()
		return len(records) > 0
	}, func() { r.t.Error("got no record, want one of a visit") })
	return records, end
}

// TestControl walks what the control socket does, with a client that is connected.
func TestControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	r := run(t, withControl(path))
	c, ctx := console(t, path), t.Context()

	tailed, _ := r.follow(c)
	conn := r.dial()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	var s api.Status
	servertest.Eventually(t, func() bool {
		s, _ = c.Status(ctx)
		return len(s.Listeners) == 1 && s.Listeners[0].Counts.Records == 1 && s.Clients == 1
	}, func() { t.Errorf("got %+v, want one record of one client", s) })
	if s.Version != "1.2.3" || s.PID != os.Getpid() || s.Phase != "serving" || s.Clients != 1 || len(s.Problems)+len(s.Unready) > 0 {
		t.Errorf("status: got %+v, want that of a daemon that serves one client", s)
	}
	if l := s.Listeners[0]; l.Addresses[0] != r.cfg.Listeners[0].Address[0] || l.Service != "record" || l.File != r.cfg.Record.File {
		t.Errorf("listener: got %+v, want that of the configuration", l)
	}
	if f := s.Files[0]; f.Path != r.cfg.Record.File || f.Size == 0 || f.Free <= 0 {
		t.Errorf("file: got %+v, want its size and the room", f)
	}

	if got, err := c.Rotate(ctx); err != nil || !slices.Equal(got.Files, []string{r.cfg.Record.File}) {
		t.Errorf("rotate: got %+v and error %v, want the record file", got, err)
	}
	if got, err := c.Rotate(ctx); err != nil || len(got.Files) != 0 {
		t.Errorf("rotate: got %+v and error %v, want nothing: the file is empty", got, err)
	}
	if _, err := c.Drain(ctx, "none"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("drain: got error %v, want that there is no such listener", err)
	}
	if got, err := c.Drain(ctx, "tcpmux"); err != nil || got != (api.Drained{Listener: "tcpmux", Draining: true, Clients: 1}) {
		t.Errorf("drain: got %+v and error %v, want the one client", got, err)
	}
	if _, err := c.Kill(ctx, api.Filter{ID: "none"}); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("kill: got error %v, want that there is no such session", err)
	}
	if n, err := c.KillAll(ctx); err != nil || n != 1 {
		t.Errorf("kill: got %d and error %v, want 1", n, err)
	}
	for rec := range tailed {
		if rec.Kind == "close" && rec.Records == 1 {
			if rec.Reason != "killed" {
				t.Errorf("tail: got %+v, want a session that was killed", rec)
			}
			break
		}
	}
}

// TestControlReload: faults and changes are in the answer.
func TestControlReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	r := run(t, withControl(path))
	c := console(t, path)
	changed := r.cfg
	changed.DrainTimeout, changed.Control = time.Hour, path+"2"
	for _, step := range []struct {
		name string
		load Reload
		want api.Reloaded
	}{
		{"fault", func() (config.Config, error) { return config.Config{}, errors.New("one\ntwo") }, api.Reloaded{Faults: []string{"one", "two"}}},
		{"changes", loaded(changed), api.Reloaded{Changes: []api.Change{
			{Key: "drain_timeout", From: `"1m"`, To: `"1h"`, Effect: "now"},
			{Key: "control", From: `"` + path + `"`, To: `"` + path + `2"`, Effect: "restart"},
		}}},
	} {
		r.load.Store(&step.load)
		got, err := c.Reload(t.Context())
		if err != nil || !slices.Equal(got.Faults, step.want.Faults) || !slices.Equal(got.Changes, step.want.Changes) {
			t.Errorf("%s: got %+v and error %v, want %+v", step.name, got, err, step.want)
		}
	}
	s, err := c.Status(t.Context())
	if err != nil || s.Config.Reloads != 2 || !s.Config.Differs ||
		!slices.Equal(s.Problems, []string{"control of the file is put in force by a new start"}) {
		t.Errorf("got %+v and error %v, want two reloads, and what waits for a new start", s, err)
	}
}

// TestControlAnswersWhileClientsFinish: until the last of them, and a tail is told of the end.
func TestControlAnswersWhileClientsFinish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	r := run(t, withControl(path))
	c := console(t, path)
	_, tail := r.follow(c)
	conn := r.dial()
	greeting(t, conn)
	r.stop()
	var s api.Status
	servertest.Eventually(t, func() bool {
		s, _ = c.Status(context.Background())
		return s.Phase == "draining"
	}, func() { t.Errorf("got %+v, want the phase draining", s) })
	if len(s.Unready) == 0 || s.Clients == 0 {
		t.Errorf("got %+v, want a client and that the daemon is not ready", s)
	}
	if _, err := c.Reload(context.Background()); err == nil {
		t.Error("reload: got no error, want that it is not possible now")
	}
	_ = conn.Close()
	if err := <-tail; !errors.Is(err, client.ErrRestart) {
		t.Errorf("tail: got %v, want ErrRestart", err)
	}
	servertest.Eventually(t, func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	}, func() { t.Error("got the socket still there, want it removed") })
	if _, err := c.Status(context.Background()); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("got error %v, want ErrNotRunning", err)
	}
}

// TestAControlSocketThatCannotBeMadeKeepsNobody from being served, and is made once it can be.
func TestAControlSocketThatCannotBeMadeKeepsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, withControl(path), func(c *config.Config) { c.Status.Address = []string{freeAddress(t)} })
	greeting(t, r.dial())
	r.awaitLog("level=WARN", "control requests are not answered", path, "is no socket")
	resp, err := http.Get("http://" + r.cfg.Status.Address[0] + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status page: got %+v and error %v, want 200", resp, err)
	}
	_ = resp.Body.Close()
	if got := readFile(path); got != "mine" {
		t.Errorf("got %q in the file, want it left alone", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	console(t, path)
}

// TestProblemsNameControlSockets.
func TestProblemsNameControlSockets(t *testing.T) {
	cs := openControls(config.Config{Control: "/none/control"}, nil, nil, slog.New(slog.DiscardHandler))
	cs.start(nil)
	defer cs.close()
	if got := strings.Join(cs.problems(), "; "); !strings.HasPrefix(got, `control socket "/none/control" is not served: open /none: no such file`) {
		t.Errorf("got %q, want the socket and why", got)
	}
}

// TestAControlSocketLivesOnInTheNextProgram, with clients that wait, and is removed by that.
func TestAControlSocketLivesOnInTheNextProgram(t *testing.T) {
	cfg := config.Config{Control: filepath.Join(t.TempDir(), "control")}
	cfg.Status.Address = []string{freeAddress(t)}
	log := slog.New(slog.DiscardHandler)
	first := openControls(cfg, nil, nil, log)
	first.start(nil)
	var sockets []systemd.Socket
	for _, s := range first.leave() { // as a takeover does
		dup, err := duplicate(s.File)
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, systemd.Socket{Name: s.Name, File: dup, Ours: true})
	}
	defer closeSockets(sockets)
	first.close()
	waiting, err := net.Dial("unix", cfg.Control)
	if err != nil {
		t.Fatalf("between the programs: %v", err)
	}
	defer waiting.Close()

	ctl, status, others := splitControl(append(sockets, systemd.Socket{Name: "telnet"}))
	if len(ctl) != 1 || len(status) != 1 || len(others) != 1 {
		t.Fatalf("got %v, %v, %v, want one of each", ctl, status, others)
	}
	second := openControls(cfg, ctl, status, log)
	second.start(nil)
	if got := second.problems(); len(got) > 0 || len(second.all) != 2 {
		t.Errorf("got %q with %d sockets, want two and no problem", got, len(second.all))
	}
	if _, err := io.WriteString(waiting, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 404"))
	if _, err := io.ReadFull(waiting, answer); err != nil || string(answer) != "HTTP/1.1 404" {
		t.Errorf("got %q and error %v, want an answer to who has waited", answer, err)
	}
	second.close()
	if _, err := os.Lstat(cfg.Control); !os.IsNotExist(err) {
		t.Errorf("got error %v, want the socket removed", err)
	}
}

// TestTheNextProgramGetsNoControlSocketWhoseFileHasGone: it would remove what is there instead.
func TestTheNextProgramGetsNoControlSocketWhoseFileHasGone(t *testing.T) {
	cfg := config.Config{Control: filepath.Join(t.TempDir(), "control")}
	cs := openControls(cfg, nil, nil, slog.New(slog.DiscardHandler))
	cs.start(nil)
	defer cs.close()
	if err := os.Remove(cfg.Control); err != nil {
		t.Fatal(err)
	}
	if got := cs.leave(); len(got) != 0 {
		t.Errorf("got %v, want no socket", got)
	}
}

// TestASocketOfAnotherKindIsNotServed: over TCP the control socket would let everybody read.
func TestASocketOfAnotherKindIsNotServed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cs := openControls(config.Config{}, []systemd.Socket{{Name: config.ControlSocket, File: file}}, nil, slog.New(slog.DiscardHandler))
	cs.start(nil)
	defer cs.close()
	if got := strings.Join(cs.problems(), "; "); !strings.Contains(got, "of another kind (tcp)") {
		t.Errorf("got %q, want that it is of another kind", got)
	}
}

// TestAWedgedRunIsNoWedgedAnswer.
func TestAWedgedRunIsNoWedgedAnswer(t *testing.T) {
	c := &controlled{daemon: &daemon{calls: make(chan func())}, over: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the time is over", err)
	}
	over := make(chan struct{})
	close(over)
	c.over = over
	if _, err := c.Status(t.Context()); !errors.Is(err, control.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// TestAPanicOfARequestDoesNotEndRun.
func TestAPanicOfARequestDoesNotEndRun(t *testing.T) {
	c := &controlled{daemon: &daemon{calls: make(chan func())}, over: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
	go func() { (<-c.calls)() }()
	if _, err := onRun(t.Context(), c, func() (int, error) { panic("a bug") }); err == nil {
		t.Error("got no error, want one")
	}
}

// TestTheFileThatAsksForPortsGoes: with RuntimeDirectoryPreserve= that of the process before stays.
func TestTheFileThatAsksForPortsGoes(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", dir)
	path := filepath.Join(dir, missingFile)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	(&ports{log: slog.New(slog.DiscardHandler)}).requestMissing()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("got error %v, want that it is gone", err)
	}
}
