package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/control"
	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/servertest"
)

// withOwnFile adds a listener, which records in a file of its own.
func withOwnFile(address, path string) func(*config.Config) {
	return second(address, func(l *config.Listener) { l.File = path })
}

// dialSecond connects to the second listener, once that listens, and hears its banner.
func (r *running) dialSecond() *servertest.Client {
	r.t.Helper()
	address := r.cfg.Listeners[1].Address[0]
	heard(r.t, address)
	c := servertest.Dial(r.t, address, nil)
	c.Hear("second\n")
	return c
}

// awaitFile returns when a file below the directory holds a text.
func (r *running) awaitFile(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	servertest.Eventually(r.t, func() bool { return strings.Contains(readFile(path), text) },
		func() { r.t.Errorf("%s: got %q, want %q in it", name, readFile(path), text) })
}

// TestAListenerHasAFileOfItsOwn, and another one the main file.
func TestAListenerHasAFileOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.log")
	r := run(t, withOwnFile(freeAddress(t), path))
	second, first := r.dialSecond(), r.dial()
	greeting(t, first)
	second.Say("to the second\n")
	fmt.Fprint(first, "to the first\n")
	r.awaitFile("records.log", ": to the first\n")
	servertest.Eventually(t, func() bool { return strings.Contains(readFile(path), ": to the second\n") },
		func() { t.Errorf("own file: got %q, want the message", readFile(path)) })
	if main, own := readFile(r.cfg.Record.File), readFile(path); strings.Contains(main, second.Addr()) ||
		strings.Contains(own, first.LocalAddr().String()) {
		t.Errorf("got %q in the main file and %q in the own one, want each client in one of them", main, own)
	}
}

// TestFilesAreRotatedEachOnItsOwn, and hold all that was sent.
func TestFilesAreRotatedEachOnItsOwn(t *testing.T) {
	const messages = 300
	r := run(t, func(cfg *config.Config) {
		cfg.Record.MaxSize, cfg.Record.Events = 4<<10, config.NoEvents
		cfg.Listeners[0].MaxMessage = 512
	}, withOwnFile(freeAddress(t), filepath.Join(t.TempDir(), "own.log")))
	first := servertest.Dial(t, r.address(), nil)
	first.Hear(r.cfg.Listeners[0].Banner.Raw)
	want := map[string][]string{}
	var talking sync.WaitGroup
	for _, c := range []*servertest.Client{first, r.dialSecond()} {
		for m := range messages {
			want[c.Addr()] = append(want[c.Addr()], fmt.Sprintf("message %d %s", m, strings.Repeat("x", 100)))
		}
		texts := want[c.Addr()]
		talking.Go(func() {
			for _, text := range texts {
				c.Say(text + "\n")
			}
			_ = c.CloseWrite()
			c.HearEnd()
		})
	}
	talking.Wait()
	for _, path := range []string{r.cfg.Record.File, r.cfg.Listeners[1].File} {
		backups, err := recordfile.Backups(path)
		if err != nil || len(backups) < 3 {
			t.Errorf("%s: got %d rotated files and %v, want several", path, len(backups), err)
		}
		slices.SortFunc(backups, recordfile.Backup.Compare)
		text := ""
		for _, b := range backups {
			text += readFile(b.Path())
		}
		got := messagesIn(text + readFile(path))
		if len(got) != 1 {
			t.Errorf("%s: got %d clients, want one", path, len(got))
		}
		for client, texts := range got {
			if !slices.Equal(texts, want[client]) {
				t.Errorf("%s: got %d messages of %s, want its %d", path, len(texts), client, messages)
			}
			delete(want, client)
		}
	}
	if len(want) > 0 {
		t.Errorf("got no records of %v", slices.Collect(maps.Keys(want)))
	}
}

// TestAFullDiskHoldsUpTheClientsOfItsOwnFileAlone, and a reload works meanwhile.
func TestAFullDiskHoldsUpTheClientsOfItsOwnFileAlone(t *testing.T) {
	dir := smallDisk(t, 32<<20)
	path := filepath.Join(dir, "own.log")
	r := run(t, withOwnFile(freeAddress(t), path))
	c := r.dialSecond()
	c.Say("before\n")
	filler := fill(t, dir)
	line := strings.Repeat("x", 60_000) + "\n"
	c.Say(line)
	// So many that they fill what is gathered, and would take all buffers.
	for range 50 {
		go func(more *servertest.Client) { _, _ = more.Write([]byte(strings.Repeat(line, 3))) }(r.dialSecond())
	}
	r.awaitLog("records cannot be written, clients wait", "listener=second", unix.ENOSPC.Error())
	first := r.dial()
	greeting(t, first)
	fmt.Fprint(first, "goes on\n")
	r.awaitFile("records.log", ": goes on\n")
	r.reload(func(cfg *config.Config) error { cfg.Listeners[0].Banner = config.Text("reloaded\n"); return nil })
	if got := greeting(t, r.dial()); got != "reloaded\n" {
		t.Errorf("heard %q after a reload, want the new banner: %s", got, r.log)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	c.HearEnd()
	if got := messagesIn(readFile(path))[c.Addr()]; len(got) < 2 || got[0] != "before" || got[1] != strings.TrimSuffix(line, "\n") {
		t.Errorf("got %.200q, want both messages", got)
	}
}

// TestADiskThatHangsDoesNotHangRun: neither each second, where the file is wanted no longer, nor at
// a reload, which fails.
func TestADiskThatHangsDoesNotHangRun(t *testing.T) {
	d := ending(servertest.New(t, nil).Open())
	f, err := newRecordFile(config.Default(), filepath.Join(t.TempDir(), "x.log"), "gone", d.records.delivery)
	if err != nil {
		t.Fatal(err)
	}
	d.records.add(f)
	f.mu.Lock() // as by a file that is being opened
	defer f.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		d.records.tick(d.srv)
		done <- d.records.reopen(ctx, d.cfg, d.srv)
	}()
	select {
	case err := <-done:
		if !errors.Is(err, errBusy) {
			t.Errorf("reload: got error %v, want that records cannot be written", err)
		}
	case <-time.After(servertest.Patience):
		t.Error("it hangs too")
	}
}

// TestOneRotationAtATime: of those that hang in a disk, each would be a call of the control socket.
func TestOneRotationAtATime(t *testing.T) {
	d := ending(servertest.New(t, nil).Open())
	if _, err := d.records.rotate(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	d.records.rotating.Lock()
	defer d.records.rotating.Unlock()
	if _, err := d.records.rotate(); !errors.Is(err, control.ErrUnavailable) {
		t.Errorf("while another is under way: got %v, want ErrUnavailable", err)
	}
}

// TestAFileThatCannotBeOpenedKeepsItsListenerAlone from being served, until it can.
func TestAFileThatCannotBeOpenedKeepsItsListenerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not yet")
	path, address := filepath.Join(dir, "own.log"), freeAddress(t)
	r := run(t, withOwnFile(address, path))
	greeting(t, r.dial())
	r.awaitLog("listener is not served", "listener=second", path, "no such file or directory")
	// It keeps no reload from its work.
	r.reload(func(cfg *config.Config) error { cfg.Listeners[0].Banner = config.Text("reloaded\n"); return nil })
	if got := greeting(t, r.dial()); got != "reloaded\n" {
		t.Errorf("heard %q after a reload, want the new banner: %s", got, r.log)
	}
	waiting := servertest.Dial(t, address, nil)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	waiting.Hear("second\n")
	waiting.Say("has waited\n")
	servertest.Eventually(t, func() bool { return strings.Contains(readFile(path), ": has waited\n") },
		func() { t.Errorf("own file: got %q, want the message", readFile(path)) })
}

// setFile has the second listener record in a file below the directory; "" has it record in the
// main one.
func (r *running) setFile(name string) {
	r.t.Helper()
	r.reload(func(cfg *config.Config) error {
		cfg.Listeners[1].File = name
		if name != "" {
			cfg.Listeners[1].File = filepath.Join(r.dir, name)
		}
		return nil
	})
}

// TestAReloadMovesAFile: with another path, those that are connected go on there; those whose
// listener gets a file or loses it stay where they are, and the file is closed after the last of
// them.
func TestAReloadMovesAFile(t *testing.T) {
	r := run(t, withOwnFile(freeAddress(t), ""))
	begin := func(name string) *servertest.Client {
		c := r.dialSecond()
		c.Say("begins\n")
		r.awaitFile(name, c.Addr()+": begins\n")
		return c
	}
	main := begin("records.log")
	r.setFile("x.log")
	r.awaitLog(`key="listener \"second\": file"`, "x.log", `effect="new clients"`)
	own := begin("x.log")
	main.Say("stays\n")
	r.awaitFile("records.log", main.Addr()+": stays\n")
	r.setFile("y.log")
	r.awaitLog(`key="listener \"second\": file"`, "x.log", "y.log", "effect=now")
	own.Say("goes to y\n")
	r.awaitFile("y.log", own.Addr()+": goes to y\n")
	begin("y.log").Close()
	r.setFile("")
	begin("records.log").Close()
	own.Say("stays in y\n")
	r.awaitFile("y.log", own.Addr()+": stays in y\n")
	_ = own.CloseWrite()
	own.HearEnd()
	r.awaitLog("record file closed, no client writes to it any more", "listener=second", filepath.Join(r.dir, "y.log"))
	r.awaitFile("y.log", "close from "+own.Addr())
	r.setFile("z.log")
	begin("z.log").Close()
}

// TestAReloadThatCannotOpenAFileChangesNothing, neither the files that could be opened.
func TestAReloadThatCannotOpenAFileChangesNothing(t *testing.T) {
	r := run(t, withOwnFile(freeAddress(t), ""))
	r.setFile("x.log")
	own, main := r.dialSecond(), r.dial()
	greeting(t, main)
	before := r.cfg
	r.reload(func(cfg *config.Config) error {
		cfg.Record.File = filepath.Join(r.dir, "other.log")
		cfg.Listeners[1].File = filepath.Join(r.dir, "none", "y.log")
		return nil
	})
	r.cfg = before
	r.awaitLog("configuration not reloaded", "y.log", "no such file or directory")
	own.Say("own\n")
	fmt.Fprint(main, "main\n")
	r.awaitFile("x.log", ": own\n")
	r.awaitFile("records.log", ": main\n")
}

// TestFilesThatSwapTheirNamesNeedTwoReloads: each is locked while the other one is to be opened.
func TestFilesThatSwapTheirNamesNeedTwoReloads(t *testing.T) {
	r := run(t, withOwnFile(freeAddress(t), ""))
	r.setFile("x.log")
	own := r.dialSecond()
	move := func(main, second string) {
		r.reload(func(cfg *config.Config) error {
			cfg.Record.File, cfg.Listeners[1].File = filepath.Join(r.dir, main), filepath.Join(r.dir, second)
			return nil
		})
	}
	before := r.cfg
	move("x.log", "records.log")
	r.awaitLog("configuration not reloaded", "is still that of ")
	r.cfg = before
	own.Say("one\n")
	r.awaitFile("x.log", own.Addr()+": one\n")
	move("x.log", "y.log") // that of the second moves first
	own.Say("two\n")
	r.awaitFile("y.log", own.Addr()+": two\n")
	first := r.dial()
	greeting(t, first)
	fmt.Fprint(first, "three\n")
	r.awaitFile("x.log", first.LocalAddr().String()+": three\n")
}

// TestTheStatusLineNamesTheListenerWhoseFileFails.
func TestTheStatusLineNamesTheListenerWhoseFileFails(t *testing.T) {
	d := ending(servertest.New(t, nil).Open())
	f, err := newRecordFile(config.Default(), filepath.Join(t.TempDir(), "none", "x.log"), "second", d.records.delivery)
	if err != nil {
		t.Fatal(err)
	}
	d.records.add(f)
	f.conditions.note(recordfile.Rotation, errors.New("one"))
	ticket, err := f.sink.Gather([]byte("line\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = f.sink.Commit(ticket); close(done) }()
	const want = "STATUS=0 clients, 0 records; records cannot be written, clients wait (listener second)" +
		"; the record file cannot be rotated (listener second)"
	servertest.Eventually(t, func() bool { return d.status() == want }, func() { t.Errorf("got %q, want %q", d.status(), want) })
	f.sink.Close()
	<-done
}

// TestALockedFileKeepsItsListenerWaiting until the file is free. The log says why.
func TestALockedFileKeepsItsListenerWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.log")
	held, err := recordfile.Open(recordfile.Options{Path: path, Mode: 0o600, MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	r := run(t, withOwnFile(address, path))
	greeting(t, r.dial())
	r.awaitLog("listener is not served", "listener=second", "is in use already")
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if got := heard(t, address); got != "second\n" {
		t.Errorf("heard %q once the file is free, want the banner", got)
	}
}

// TestAnOwnFileThatWasMovedIsMadeAnew at once, on request.
func TestAnOwnFileThatWasMovedIsMadeAnew(t *testing.T) {
	r := run(t, withOwnFile(freeAddress(t), ""))
	r.setFile("x.log")
	c := r.dialSecond()
	c.Say("before\n")
	r.awaitFile("x.log", c.Addr()+": before\n")
	if err := os.Rename(filepath.Join(r.dir, "x.log"), filepath.Join(r.dir, "moved.log")); err != nil {
		t.Fatal(err)
	}
	r.reopens <- struct{}{}
	r.awaitLog("files reopened")
	c.Say("after\n")
	r.awaitFile("x.log", c.Addr()+": after\n")
}

// TestLinesWaitForAFileThatCannotBeOpened, as those of clients do that have come from the previous
// process.
func TestLinesWaitForAFileThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not yet")
	d := ending(servertest.New(t, nil).Open())
	f, err := newRecordFile(config.Default(), filepath.Join(dir, "x.log"), "second", d.records.delivery)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := f.sink.Gather([]byte("line\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.sink.Commit(ticket) }()
	servertest.Eventually(t, f.sink.Failing, func() { t.Error("the sink does not fail, want it to try again") })
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := readFile(filepath.Join(dir, "x.log")); got != "line\n" {
		t.Errorf("got %q, want the line", got)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}
