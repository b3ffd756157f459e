package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// smallDisk is the directory of a file system with room for so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		lacks(t, "mount: "+err.Error(), "run as root")
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill leaves less than a page of room in dir, until the file is removed.
func fill(t *testing.T, dir string) (name string) {
	t.Helper()
	name = filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	return name
}

// TestFilePath holds where a file is, whoever asks: "tcpmux check" has it from there, and the daemon opens what it returns.
func TestFilePath(t *testing.T) {
	for _, c := range []struct{ logs, path, want string }{
		{"", "r.log", "r.log"},
		{"", "./a/../r.log", "r.log"},
		{"/var/log/tcpmux:/other", "r.log", "/var/log/tcpmux/r.log"},
		{"/var/log/tcpmux", "../r.log", "/var/log/r.log"},
		{"/var/log/tcpmux", "/none/../r.log", "/r.log"},
		{"/var/log/tcpmux", "//a//r.log", "/a/r.log"},
	} {
		t.Setenv("LOGS_DIRECTORY", c.logs)
		if got := FilePath(c.path); got != c.want {
			t.Errorf("%q below %q: got %q, want %q", c.path, c.logs, got, c.want)
		}
	}
}

// TestAFullDiskLosesNothingAndClosesNobody fills the disk under clients that talk on, twice.
func TestAFullDiskLosesNothingAndClosesNobody(t *testing.T) {
	const clients, messages, troubles = 8, 400, 2
	dir := smallDisk(t, 8<<20)
	d := deskWithFile(t, func(cfg *config.Config) { cfg.Record.File = filepath.Join(dir, "records.log") }).open()
	var talking sync.WaitGroup
	sent := make(map[string]string)
	pauses := make([]chan struct{}, troubles)
	for i := range pauses {
		pauses[i] = make(chan struct{})
	}
	for i := range clients {
		c := d.greeted()
		stream := func(m int) string {
			return fmt.Sprintf("client %d message %d %s\n", i, m, strings.Repeat("\x00", 20*i))
		}
		var all strings.Builder
		for m := range messages {
			all.WriteString(stream(m))
		}
		sent[c.addr()] = all.String()
		talking.Go(func() {
			for m := range messages {
				if m%100 == 50 && m/100 < troubles {
					<-pauses[m/100] // the disk is full from here on
				}
				if _, err := c.Write([]byte(stream(m))); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
			_ = c.CloseWrite()
			if rest := c.hearEnd(); rest != "" {
				t.Errorf("client %d: heard %q, want the end", i, rest)
			}
		})
	}
	for i := range troubles {
		filler := fill(t, dir)
		close(pauses[i])
		eventually(t, d.sink.Failing, func() { t.Error("the sink does not fail") })
		for range 4 { // tries that get nowhere
			d.sink.Ping()
		}
		if n := d.srv.Clients(); n != clients {
			t.Errorf("clients while the disk is full: got %d, want %d", n, clients)
		}
		d.log.await(t, "records cannot be written, clients wait")
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return !d.sink.Failing() }, func() { t.Error("the sink goes on failing") })
		eventually(t, func() bool { return strings.Count(d.log.String(), "records are written again") == i+1 }, func() {
			t.Errorf("log: got %s, want that it is over", d.log)
		})
	}
	talking.Wait()
	d.awaitClients(0)
	l := newLedger()
	l.read(t, "text", readRecords(t, d.path))
	for remote, stream := range sent {
		l.compare(t, remote, expected(stream, 64<<10, false))
	}
	if got := strings.Count(d.log.String(), "records cannot be written"); got != troubles {
		t.Errorf("log: told of the trouble %d times, want %d: %s", got, troubles, d.log)
	}
	if line := d.log.line("records cannot be written"); !holdsAll(line, []string{"level=ERROR", d.path, unix.ENOSPC.Error()}) {
		t.Errorf("log: got %q, want an error with file and cause", line)
	}
	if line := d.log.line("records are written again"); !holdsAll(line, []string{"level=WARN", "duration="}) {
		t.Errorf("log: got %q, want how long it was", line)
	}
}

// TestAHangingSinkBoundsWhatIsRead: clients that flood us while nothing can be written fill the kernel, not our memory.
func TestAHangingSinkBoundsWhatIsRead(t *testing.T) {
	const clients = 60
	d := newDesk(t, func(cfg *config.Config) { cfg.Record.Events = false }).open()
	resume := d.out.hang()
	defer resume()
	line := strings.Repeat("x", 1000) + "\n"
	for range clients {
		c := d.greeted()
		go func() {
			for _, err := c.Write([]byte(line)); err == nil; _, err = c.Write([]byte(line)) {
			}
		}()
	}
	eventually(t, func() bool { return d.out.begun() > 0 }, func() { t.Error("got no write, want one that hangs") })
	// New clients are greeted still, and can be counted.
	d.greeted()
	if n := d.srv.Clients(); n != clients+1 {
		t.Errorf("clients: got %d, want %d", n, clients+1)
	}
	if n := d.srv.Records(); n != 0 {
		t.Errorf("records: got %d, want none", n)
	}
	resume()
	d.records(": xxx")
}
