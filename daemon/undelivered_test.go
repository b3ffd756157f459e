package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/control/client"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/servertest"
)

// delivered saves that records are delivered up to the given files, by their paths.
func delivered(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	var s delivery.State
	for path, file := range files {
		mark, err := recordfile.MarkOf(file)
		if err != nil || mark == "" {
			t.Fatalf("%s: got %q, %v, want a mark", file, mark, err)
		}
		s.Kept = append(s.Kept, delivery.Position{Key: delivery.KeyOf(path), Mark: mark})
	}
	if err := delivery.Save(dir, s); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsNotDelivered: what the state file says of a record file.
func TestWhatIsNotDelivered(t *testing.T) {
	dir, log := t.TempDir(), &servertest.FakeFile{}
	s := &deliveryState{log: slog.New(slog.NewTextHandler(log, nil))}
	path := filepath.Join(t.TempDir(), "r.log")
	if err := os.WriteFile(path, []byte("line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mark, _ := recordfile.MarkOf(path) // it is checked below
	f := &config.Forward{State: dir}
	if s.of(f, path) != nil {
		t.Error("got something not delivered though nothing is forwarded")
	}
	f.Servers = []string{"nats://localhost:4222"}
	if s.of(f, config.Stdout) != nil {
		t.Error("got something not delivered of standard output")
	}
	ask, other := s.of(f, path), s.of(f, path+".other")
	all := recordfile.Undelivered{All: true}
	for _, c := range []struct {
		name            string
		change          func()
		want, wantOther recordfile.Undelivered
		logged          int
		problem         string
	}{
		{"no state file", func() {}, all, all, 0, ""},
		{"a position", func() { delivered(t, dir, map[string]string{path: path}) }, recordfile.Undelivered{From: mark}, all, 0, ""},
		{"damaged", func() { damage(t, dir, "{") }, all, all, 1, "unexpected end of JSON input"},
		{"still damaged", func() { damage(t, dir, "") }, all, all, 1, "unexpected end of JSON input"},
		{"of another version", func() { damage(t, dir, `{"version": 7}`) }, all, all, 1, "version 7, want 1"},
		{"mended", func() { delivered(t, dir, map[string]string{path + ".other": path}) }, all, recordfile.Undelivered{From: mark}, 2, ""},
		{"gone", func() { _ = os.Remove(delivery.Path(dir)) }, all, all, 2, ""},
	} {
		c.change()
		s.asked = time.Time{} // as if a second had passed
		if got, gotOther := ask(), other(); got != c.want || gotOther != c.wantOther {
			t.Errorf("%s: got %+v and %+v, want %+v and %+v", c.name, got, gotOther, c.want, c.wantOther)
		}
		if n := strings.Count(log.String(), "\n"); n != c.logged {
			t.Errorf("%s: got %d lines, want %d: %s", c.name, n, c.logged, log)
		}
		switch text := s.problem.Load(); {
		case c.problem == "" && text != nil:
			t.Errorf("%s: got the problem %q, want none", c.name, *text)
		case c.problem != "" && (text == nil || !strings.Contains(*text, c.problem)):
			t.Errorf("%s: got the problem %v, want %q", c.name, text, c.problem)
		}
	}
}

func damage(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(delivery.Path(dir), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTheStateFileIsReadSeldom: of many record files, and of a state that is saved all the time, it
// is read once a second at most, and only if it has changed.
func TestTheStateFileIsReadSeldom(t *testing.T) {
	dir, log := t.TempDir(), &servertest.FakeFile{}
	s := &deliveryState{log: slog.New(slog.NewTextHandler(log, nil))}
	path := filepath.Join(dir, "r.log")
	if err := os.WriteFile(path, []byte("line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	delivered(t, dir, map[string]string{path: path})
	ask := s.of(&config.Forward{State: dir, Servers: []string{"x"}}, path)
	want := ask()
	damage(t, dir, "{")
	s.asked = time.Now().Add(time.Hour) // the second is not over, however slow the machine is
	if got := ask(); got != want || want.All {
		t.Errorf("within the second: got %+v, want %+v", got, want)
	}
	info, err := os.Stat(delivery.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	s.asked, s.file = time.Time{}, info
	if got := ask(); got != want {
		t.Errorf("the same file: got %+v, want %+v without reading it", got, want)
	}
	s.asked = time.Time{}
	damage(t, dir, "{{")
	if got := ask(); !got.All {
		t.Errorf("another file: got %+v, want that it is read", got)
	}
}

// rotations writes n files for both listeners.
func (r *running) rotations(n int, c *client.Client) {
	r.t.Helper()
	for range n {
		for _, address := range r.addresses() {
			conn := servertest.Dial(r.t, address, nil)
			conn.Say("a message\n")
			_ = conn.CloseWrite()
			conn.HearEnd()
		}
		if rotated, err := c.Rotate(r.t.Context()); err != nil || len(rotated.Files) != 2 {
			r.t.Fatalf("got %v, %v, want two files rotated", rotated, err)
		}
	}
}

// awaitBackups returns when each record file has so many backups.
func (r *running) awaitBackups(main, own int) {
	r.t.Helper()
	var got [2]int
	servertest.Eventually(r.t, func() bool {
		for i, path := range []string{r.cfg.Record.File, r.cfg.Listeners[1].File} {
			backups, _ := recordfile.Backups(path) // the directory is there
			got[i] = len(backups)
		}
		return got == [2]int{main, own}
	}, func() { r.t.Errorf("got %d backups, want %d and %d", got, main, own) })
}

// TestUndeliveredFilesStay, those of a listener too, while forwarding is on, and it is said. A
// reload that turns it on or off takes effect at once.
func TestUndeliveredFilesStay(t *testing.T) {
	socket, state := filepath.Join(t.TempDir(), "control"), t.TempDir()
	forward := func(cfg *config.Config) {
		cfg.Forward.Servers, cfg.Forward.State = []string{"nats://localhost:4222"}, state
	}
	r := run(t, withControl(socket), withOwnFile(freeAddress(t), filepath.Join(t.TempDir(), "own.log")), forward,
		func(cfg *config.Config) { cfg.Record.MaxBackups, cfg.Record.Format = 1, "json" })
	c := console(t, socket)
	main, own := r.cfg.Record.File, r.cfg.Listeners[1].File
	backup := func(path string, i int) string {
		backups, err := recordfile.Backups(path)
		if err != nil || len(backups) <= i {
			t.Fatalf("%s: got %d backups, %v, want more than %d", path, len(backups), err, i)
		}
		return backups[i].Path()
	}

	r.rotations(4, c)
	r.awaitBackups(4, 4)
	r.awaitLogs(2, "rotated record files stay beyond what is configured until they are delivered, see tcpmux-forward status")
	awaitSamples(t, socket, map[string]float64{"tcpmux_file_overdue": 3}) // of the last file
	var s api.Status
	servertest.Eventually(t, func() bool {
		var err error
		s, err = c.Status(t.Context())
		return err == nil && len(s.Files) == 2 && s.Files[0].Overdue == 3 && s.Files[1].Overdue == 3
	}, func() { t.Errorf("got %+v, want three overdue backups of each file", s.Files) })
	for _, f := range s.Files {
		want := fmt.Sprintf("rotated files stay until they are delivered: see tcpmux-forward status (3 rotated files of %.1f MiB)",
			float64(f.OverdueBytes)/(1<<20))
		if f.OverdueBytes < 300 || strings.Join(f.Troubles, "") != want {
			t.Errorf("%s: got %d bytes and %q, want %q", f.Path, f.OverdueBytes, f.Troubles, want)
		}
	}

	// One is delivered further than the other.
	delivered(t, state, map[string]string{main: backup(main, 2), own: backup(own, 1)})
	r.reload(func(cfg *config.Config) error { cfg.Record.MaxBackups = 2; return nil })
	r.awaitBackups(2, 3)

	r.reload(func(cfg *config.Config) error { cfg.Record.MaxBackups, cfg.Forward.Servers = 1, nil; return nil })
	r.awaitBackups(1, 1)
	r.awaitLogs(2, "no rotated record file waits any more to be delivered")
	r.rotations(2, c)
	r.awaitBackups(1, 1)

	if err := os.Remove(delivery.Path(state)); err != nil {
		t.Fatal(err)
	}
	r.reload(func(cfg *config.Config) error { forward(cfg); return nil })
	r.rotations(2, c)
	r.awaitBackups(3, 3)
}
