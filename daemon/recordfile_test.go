package daemon

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// smallDisk is the directory of a file system with room for so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		servertest.Lacks(t, "mount: "+err.Error(), "run as root")
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

// TestFilePath: the daemon opens the file that FilePath returns, and "tcpmux check" looks at the
// same one.
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

// TestAFullDiskLosesNothingAndClosesNobody fills the disk twice, while clients go on sending.
func TestAFullDiskLosesNothingAndClosesNobody(t *testing.T) {
	const clients, messages, faults = 8, 400, 2
	dir := smallDisk(t, 8<<20)
	r := run(t, func(cfg *config.Config) {
		cfg.Record.File, cfg.Record.MinFree = filepath.Join(dir, "records.log"), 0
		cfg.Record.Events = config.NoEvents
	})
	pauses := [faults]chan struct{}{make(chan struct{}), make(chan struct{})}
	var talking sync.WaitGroup
	want := make(map[string][]string)
	for i := range clients {
		c := servertest.Dial(t, r.address(), nil)
		c.Hear(r.cfg.Listeners[0].Banner.Raw)
		text := func(m int) string { return fmt.Sprintf("client %d message %d %s", i, m, strings.Repeat("x", 60*i)) }
		for m := range messages {
			want[c.Addr()] = append(want[c.Addr()], text(m))
		}
		talking.Go(func() {
			for m := range messages {
				if m%100 == 50 && m/100 < faults {
					<-pauses[m/100] // the disk is full from here on
				}
				if _, err := fmt.Fprintf(c, "%s\n", text(m)); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
			_ = c.CloseWrite()
			if rest := c.HearEnd(); rest != "" {
				t.Errorf("client %d: heard %q, want the end", i, rest)
			}
		})
	}
	for i := range faults {
		filler := fill(t, dir)
		close(pauses[i])
		r.awaitLogs(i+1, "records cannot be written, clients wait")
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		r.awaitLogs(i+1, "records are written again")
	}
	talking.Wait()
	if got := messagesIn(readFile(r.cfg.Record.File)); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %d clients with other messages, want what %d clients sent", len(got), clients)
	}
	if got := strings.Count(r.log.String(), "records cannot be written"); got != faults {
		t.Errorf("log: got the fault %d times, want %d: %s", got, faults, r.log)
	}
	r.logsAll("records cannot be written", "level=ERROR", r.cfg.Record.File, unix.ENOSPC.Error())
	r.logsAll("records are written again", "level=WARN", "duration=")
}

// logsAll fails unless the first line with a text has all parts.
func (r *running) logsAll(text string, parts ...string) {
	r.t.Helper()
	if line := r.log.Line(text); !servertest.HoldsAll(line, parts) {
		r.t.Errorf("log: got %q, want %q in it", line, parts)
	}
}

// messagesIn returns the messages of text records by their client's address.
func messagesIn(text string) map[string][]string {
	all := make(map[string][]string)
	for line := range strings.Lines(text) {
		if _, rest, ok := strings.Cut(line, "Z from "); ok {
			remote, message, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), ": ")
			all[remote] = append(all[remote], message)
		}
	}
	return all
}

// TestAHangingSinkBoundsWhatIsRead: what clients send while nothing can be written waits in the
// kernel, and not in the daemon's memory.
func TestAHangingSinkBoundsWhatIsRead(t *testing.T) {
	const clients = 60
	f := servertest.New(t, func(cfg *config.Config) { cfg.Record.Events = config.NoEvents }).Open()
	resume := f.Out.Hang()
	defer resume()
	line := strings.Repeat("x", 1000) + "\n"
	for range clients {
		c := f.Greeted()
		go func() {
			for _, err := c.Write([]byte(line)); err == nil; _, err = c.Write([]byte(line)) {
			}
		}()
	}
	servertest.Eventually(t, func() bool { return f.Out.Begun() > 0 }, func() { t.Error("got no write, want one that hangs") })
	// New clients are greeted still, and can be counted.
	f.Greeted()
	if n := f.Server.Clients(); n != clients+1 {
		t.Errorf("clients: got %d, want %d", n, clients+1)
	}
	if n := f.Server.Records(); n != 0 {
		t.Errorf("records: got %d, want none", n)
	}
	resume()
	f.AwaitRecords(": xxx")
}
