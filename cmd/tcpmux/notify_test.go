package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"

	"golang.org/x/sys/unix"
)

// manager hears what the daemon tells the service manager.
type manager struct {
	t    *testing.T
	name string
	mu   sync.Mutex
	told []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t, name: filepath.Join(t.TempDir(), "notify")}
	go m.listen(m.bind())
	return m
}

// bind returns the socket where a manager is told something. It is closed with the test.
func (m *manager) bind() *net.UnixConn {
	m.t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.name, Net: "unixgram"})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (m *manager) listen(conn *net.UnixConn) {
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		m.hear(strings.Split(string(buf[:n]), "\n"))
	}
}

// hear notes what was told.
func (m *manager) hear(lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, lines...)
}

// env is the environment that a daemon under this manager gets.
func (m *manager) env() []string { return []string{"NOTIFY_SOCKET=" + m.name, "WATCHDOG_USEC=100000"} }

// count is how many of the assignments that were told begin with prefix.
func (m *manager) count(prefix string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.told {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// hears waits until an assignment that begins with prefix was told so often.
func (m *manager) hears(prefix string, times int) {
	m.t.Helper()
	await.Until(m.t, func() bool { return m.count(prefix) >= times }, func() {
		m.t.Errorf("told %q %d times, want %d", prefix, m.count(prefix), times)
	})
}

// more waits for so many more of them.
func (m *manager) more(prefix string, times int) {
	m.t.Helper()
	m.hears(prefix, m.count(prefix)+times)
}

func TestReadyMeansThatOneCanConnectAndIsRecorded(t *testing.T) {
	dir, m, address := t.TempDir(), newManager(t), clitest.Refused(t)
	if n := m.count(""); n != 0 {
		t.Errorf("told %d things before the start, want none", n)
	}
	cmd := tcpmux(t, "run", "--config", settings(t, dir, address, "", ""))
	cmd.Env = append(os.Environ(), m.env()...)
	d := converse(t, cmd, cmd.StderrPipe)
	m.hears("READY=1", 1)
	conn := greeted(t, address) // at the first try
	say(t, conn, "one\ntwo\n")
	recorded(t, dir, ": two\n")
	m.hears("STATUS=1 client, 2 records", 1)
	_ = conn.Close()
	m.hears("STATUS=0 clients, 2 records", 1)
	if n := m.count("STOPPING=1"); n != 0 {
		t.Errorf("told STOPPING=1 %d times before the end, want never", n)
	}
	d.stops(dir)
	m.hears("STOPPING=1", 1)
	m.hears("EXTEND_TIMEOUT_USEC=40000000", 1) // drain_timeout and half a minute
	if n := m.count("READY=1"); n != 1 {
		t.Errorf("told READY=1 %d times, want once", n)
	}
}

// TestTooFewDescriptorsToOutliveAreTold where as many clients are let in as could not outlive the
// daemon, and nowhere else.
func TestTooFewDescriptorsToOutliveAreTold(t *testing.T) {
	for _, c := range []struct {
		name, top string
		want      bool
	}{
		{"more clients than twice find room", "", true},
		{"fewer", "limits.clients = 1000", false},
		{"fewer, as programs take descriptors too", `exec = ["/bin/cat"]`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, m := t.TempDir(), newManager(t)
			config := settings(t, dir, "127.0.0.1:0", c.top, "")
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 4096; exec "$0" "$@"`, built, "run", "--config", config)
			cmd.Env = append(os.Environ(), m.env()...)
			d, _ := started(t, cmd)
			for _, part := range []string{`msg="not as many clients can outlive the daemon as there may be" clients=10000 outlive=`, ` bound="LimitNOFILE=" descriptors=4096 needed="LimitNOFILE=22000"`} {
				if got := strings.Contains(d.seen, part); got != c.want {
					t.Errorf("got %v, want %v: whether %q is told, in %q", got, c.want, part, d.seen)
				}
			}
			d.stops(dir)
		})
	}
}

func TestNoReadinessWithoutARecordFile(t *testing.T) {
	m := newManager(t)
	dir := write(t, "file", "") // a directory below it cannot be made
	cmd := tcpmux(t, "run", "--config", settings(t, dir, "127.0.0.1:0", "", ""))
	cmd.Env = append(os.Environ(), m.env()...)
	status, _, stderr := clitest.Outcome(t, cmd)
	if status != 1 || !strings.Contains(stderr, "records.log") {
		t.Errorf("got status %d and %q, want 1 and the file's name", status, stderr)
	}
	if n := m.count("READY=1"); n != 0 {
		t.Errorf("told READY=1 %d times, want never", n)
	}
}

func TestTheWatchdogIsFed(t *testing.T) {
	dir, m := t.TempDir(), newManager(t)
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", `drain_timeout = "0s"`, ""), m.env()...)
	m.more("WATCHDOG=1", 3)   // idle
	c := chat(t, address, 10) // the first is closed by the daemon
	c.awaitMore(t, 1)
	m.more("WATCHDOG=1", 3) // under load
	close(c.stop)
	d.stops(dir)
	c.talking.Wait()
}

func TestTheWatchdogIsFedWhileTheDiskIsFull(t *testing.T) {
	dir, m := t.TempDir(), newManager(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=65536"); err != nil {
		lacks(t, "mount: "+err.Error(), "run as root")
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", `drain_timeout = "0s"`, ""), m.env()...)
	conn := greeted(t, address)
	say(t, conn, strings.Repeat("x", 100_000)+"\nlast\n")
	d.hear("records cannot be written, clients wait")
	m.hears("STATUS=1 client, 0 records; records cannot be written, clients wait", 1)
	m.more("WATCHDOG=1", 2) // each after a try that failed
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=1048576"); err != nil {
		t.Fatal(err)
	}
	recorded(t, dir, ": last\n")
	d.hear("records are written again")
	m.hears("STATUS=1 client, 3 records", 1)
	d.stops(dir)
}

func TestTheJournalGetsPrioritiesAndNoTime(t *testing.T) {
	for _, c := range []struct {
		name    string
		journal bool
		line    *regexp.Regexp
		ready   string
	}{
		{"the journal", true, regexp.MustCompile(`^<[3467]>msg=\S`), "<6>msg=ready "},
		{"no journal", false, regexp.MustCompile(`^time=\S+ level=[A-Z]+ msg=\S`), " level=INFO msg=ready "},
	} {
		t.Run(c.name, func(t *testing.T) {
			journal, ours := pipe(t)
			var st unix.Stat_t
			if c.journal {
				if err := clitest.Control(ours, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			cmd := tcpmux(t, "run", "--config", settings(t, dir, "127.0.0.1:0", "", ""))
			cmd.Env = append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino))
			d := converse(t, cmd, func() (io.ReadCloser, error) {
				cmd.Stderr = ours
				return journal, nil
			})
			_ = ours.Close()
			d.hear(c.ready)
			d.stops(dir)
			for line := range strings.Lines(d.seen) {
				if !c.line.MatchString(line) {
					t.Errorf("got %q, want it to match %v", line, c.line)
				}
			}
		})
	}
}

// pipe is a pipe that is closed with the test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

// unacknowledged is how much of what was written has not arrived at the other end.
func unacknowledged(t *testing.T, conn *net.TCPConn) (n int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return n
}
