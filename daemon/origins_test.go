package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// began has the sessions of a desk be known as begun with cfg, and returns what the next process would be given.
func (d *desk) began(o *origins, cfg config.Config) {
	d.t.Helper()
	numbers, err := o.put(cfg, d.srv.survival.state.Origins())
	if err != nil {
		d.t.Fatal(err)
	}
	d.srv.survival.origins = o
	for _, ln := range d.lns {
		ln.configure(ln.settings.Load().Listener, numbers[ln.name])
	}
}

// stored is what a service manager has of origins.
func (o *origins) stored(t *testing.T) []systemd.Socket {
	t.Helper()
	file, err := duplicateFile(o.file, o.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return []systemd.Socket{{Name: file.Name(), File: file}}
}

// TestASessionKeepsWhatItBeganWith in the next daemon, whose configuration has another name, framing, banner and events.
func TestASessionKeepsWhatItBeganWith(t *testing.T) {
	first := func(c *config.Config) {
		asJSON(c)
		c.Record.Events = true
		c.Listeners[0].Ack = config.Text("ok\n")
	}
	for _, c := range []struct {
		name   string
		change func(*config.Config) // of the first configuration
		ack    string               // who asks for another message hears
	}{
		{"renamed, and all else changed", func(c *config.Config) {
			l := &c.Listeners[0]
			l.Name, l.Framing, l.Ack = "other", "nul", config.Text("other\n")
			c.Record.Events = false
		}, "ok\n"},
		{"changed", func(c *config.Config) { c.Listeners[0].Framing, c.Listeners[0].Ack = "nul", config.Text("other\n") }, "ok\n"},
		{"as it was", func(*config.Config) {}, "ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, e := surviving(t, first)
			o, err := openOrigins(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer o.close()
			d.began(o, defaults(first))
			d.open()
			conn := d.greeted()
			conn.say("one\nhalf")
			conn.hear("ok\n")
			d.leave()

			next := func(cfg *config.Config) { first(cfg); c.change(cfg) }
			heir := newDesk(t, next)
			r, err := ring.Open(dup(t, e.ends[0]), dup(t, e.ends[1]), 0)
			if err != nil {
				t.Fatal(err)
			}
			f, err := state.Open(dup(t, e.state))
			if err != nil {
				t.Fatal(err)
			}
			heir.outlived(r, f)
			left, err := openOrigins(o.stored(t))
			if err != nil {
				t.Fatal(err)
			}
			defer left.close()
			heir.began(left, defaults(next))
			if err := r.Adopt(heir.srv.adopt(heir.lns)); err != nil {
				t.Fatal(err)
			}
			heir.open()
			conn.say(" a line\n")
			conn.hear(c.ack)
			_ = conn.CloseWrite()
			heir.records(`"kind":"message","listener":"tcpmux"`, `"data":"half a line"`, `"kind":"close"`)
			if got := heir.out.String(); strings.Contains(got, `"listener":"other"`) {
				t.Errorf("records: got %q, want the name that the session began with in all", got)
			}
		})
	}
}

// TestOriginsAreKeptAsLongAsSomebodyBeganWithThem and no longer; the last are those in force.
func TestOriginsAreKeptAsLongAsSomebodyBeganWithThem(t *testing.T) {
	o, err := openOrigins(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	put := func(framing string, used map[uint32]bool) uint32 {
		cfg := config.Default()
		cfg.Listeners[0].Framing = framing
		numbers, err := o.put(cfg, used)
		if err != nil {
			t.Fatal(err)
		}
		return numbers[config.MainListener]
	}
	line := put("line", nil)
	nul := put("nul", map[uint32]bool{line: true})
	chunk := put("chunk", map[uint32]bool{line: true})
	left, err := openOrigins(o.stored(t))
	if err != nil {
		t.Fatal(err)
	}
	defer left.close()
	for _, c := range []struct {
		number  uint32
		framing string // "": it is not known
	}{{line, "line"}, {nul, ""}, {chunk, "chunk"}, {0, ""}} {
		got := ""
		if found := left.find(c.number); found != nil {
			got = found.settings.Framing
		}
		if got != c.framing {
			t.Errorf("%d: got framing %q, want %q", c.number, got, c.framing)
		}
	}
	last, err := left.last()
	if err != nil || last.Listeners[0].Framing != "chunk" {
		t.Errorf("last: got %v, %v, want framing chunk", last, err)
	}
	if again := put("line", map[uint32]bool{line: true}); again != line {
		t.Errorf("the same configuration again: got %d, want %d", again, line)
	}
}

// TestOriginsThatCannotBeReadAreNone and cost nothing else.
func TestOriginsThatCannotBeReadAreNone(t *testing.T) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), systemd.SettingsName+"1")
	defer file.Close()
	if _, err := file.WriteString("{"); err != nil {
		t.Fatal(err)
	}
	o, err := openOrigins([]systemd.Socket{{Name: file.Name(), File: file}})
	if err == nil {
		t.Error("got no error of a damaged file, want one")
	}
	if _, err := o.last(); err == nil {
		t.Error("got a configuration, want none")
	}
	if _, err := o.put(config.Default(), nil); err != nil {
		t.Errorf("put: got %v, want nil", err)
	}
	o.close()
}

// TestAnAnswerTellsOfEachReload how it went, to whoever has signalled before it began.
func TestAnAnswerTellsOfEachReload(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", dir)
	r := runReloadable(t)
	greeting(t, r.dial())
	before, err := ReadReloads(dir)
	if err != nil || before.Begun != 0 || before.Ended != 0 || before.Faults != nil {
		t.Fatalf("before: got %+v, %v, want that nothing was reloaded", before, err)
	}
	r.reload(func(c *config.Config) error {
		c.Record.File = filepath.Join(dir, "no", "such", "records.log")
		return nil
	})
	r.reloads <- func() (config.Config, error) { return r.cfg, errors.New("a fault\nand another") }
	r.reloads <- func() (config.Config, error) { // the answers of those before are there
		after, err := ReadReloads(dir)
		if err != nil || after.Start != before.Start || after.Begun != 4 || after.Ended != 3 || len(after.Faults) != 2 {
			t.Errorf("after two with faults: got %+v, %v, want two faults of the third, and the fourth begun", after, err)
		}
		return r.cfg, nil
	}
	r.reloads <- func() (config.Config, error) {
		if now, err := ReadReloads(dir); err != nil || now.Ended != 4 || len(now.Faults) == 0 {
			t.Errorf("the fourth asks for what cannot be had: got %+v, %v, want its fault", now, err)
		}
		return r.cfg, errors.New("over")
	}
}

// TestAnUpgradeIsGivenWhatSessionsBeganWith beside all else that it goes on with.
func TestAnUpgradeIsGivenWhatSessionsBeganWith(t *testing.T) {
	desk, _ := surviving(t, nil)
	o, err := openOrigins(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	desk.began(o, defaults(nil))
	var b Bequest
	if err := (&daemon{lns: desk.lns, srv: desk.srv, origins: o}).duplicateAll(&b); err != nil {
		t.Fatal(err)
	}
	defer closeSockets(b.Files)
	var stored []systemd.Socket
	for _, s := range b.Files {
		if s.Stored() {
			stored = append(stored, s)
		}
	}
	left, err := openOrigins(stored)
	if err != nil {
		t.Fatal(err)
	}
	defer left.close()
	if number := desk.ln.settings.Load().origin; left.find(number) == nil {
		t.Errorf("got no origin %d among %d descriptors, want that of the listener", number, len(stored))
	}
	desk.open()
}
