package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"
)

// settings writes a configuration: address, then top-level lines, then lines of [record], with a
// record file in dir.
func settings(t *testing.T, dir, address, top, record string) (path string) {
	t.Helper()
	text := fmt.Sprintf("address = %q\n%s\n[record]\nfile = %q\n%s\n", address, top, filepath.Join(dir, "records.log"), record)
	return write(t, "tcpmux.toml", text)
}

// daemonOf starts the daemon with a configuration, and env on top of the environment. It returns
// when it is ready.
func daemonOf(t *testing.T, config string, env ...string) (d *dialogue, address string) {
	t.Helper()
	cmd := tcpmux(t, "run", "--config", config)
	cmd.Env = append(os.Environ(), env...)
	return started(t, cmd)
}

// started starts a daemon, and returns when it is ready.
func started(t *testing.T, cmd *exec.Cmd) (d *dialogue, address string) {
	t.Helper()
	d = converse(t, cmd, cmd.StderrPipe)
	d.hear("msg=ready ")
	return d, addressIn(d.seen)
}

// addressIn is the address of the first listener that a daemon's log tells of.
func addressIn(log string) string {
	_, rest, _ := strings.Cut(log, " address=")
	address, _, _ := strings.Cut(rest, " ")
	return address
}

// dial connects, and closes with the test.
func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// greeted connects and takes the default greeting.
func greeted(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn := dial(t, address)
	hear(t, conn, "Welcome connect!\r\n")
	return conn
}

// recorded waits until the record file in dir holds text.
func recorded(t *testing.T, dir, text string) {
	t.Helper()
	recordedIn(t, filepath.Join(dir, "records.log"), text)
}

// recordedIn waits until a record file holds text.
func recordedIn(t *testing.T, path, text string) {
	t.Helper()
	var got []byte
	await.Until(t, func() bool {
		got, _ = os.ReadFile(path)
		return strings.Contains(string(got), text)
	}, func() { t.Errorf("records: got %q, want %q in them", got, text) })
}

// chatter is many clients that each send numbered messages until they are stopped or closed. Every
// twentieth cannot be stopped.
type chatter struct {
	conns   []*net.TCPConn
	sent    []atomic.Int64 // messages that each client has finished sending
	talking sync.WaitGroup
	stop    chan struct{}
}

func chat(t *testing.T, address string, clients int) *chatter {
	t.Helper()
	c := &chatter{sent: make([]atomic.Int64, clients), stop: make(chan struct{})}
	for i := range clients {
		conn := greeted(t, address)
		c.conns = append(c.conns, conn)
		c.talking.Go(func() {
			defer conn.Close()
			for n := int64(0); ; n++ {
				select {
				case <-c.stop:
					if i%20 != 0 {
						return
					}
				default:
				}
				if _, err := io.WriteString(conn, message(i, n)); err != nil {
					return
				}
				c.sent[i].Store(n + 1)
				switch { // the pace of a client; some are in a hurry
				case i%10 != 1:
					time.Sleep(4 * time.Millisecond)
				case n%8 == 0:
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	return c
}

// message is what client i says the nth time.
func message(i int, n int64) string {
	return fmt.Sprintf("client %d message %d %s\n", i, n, strings.Repeat("x", int(n%50)))
}

// awaitMore waits until every client has finished so many more messages.
func (c *chatter) awaitMore(t *testing.T, more int64) {
	t.Helper()
	c.awaitEach(t, more, func(*net.TCPConn) bool { return false })
}

// awaitMoreOrFull is awaitMore for a daemon that reads nothing: a client in a hurry may have filled
// what the kernel holds for it, and talks no more.
func (c *chatter) awaitMoreOrFull(t *testing.T, more int64) {
	t.Helper()
	c.awaitEach(t, more, func(conn *net.TCPConn) bool { return unacknowledged(t, conn) > 0 })
}

func (c *chatter) awaitEach(t *testing.T, more int64, excused func(*net.TCPConn) bool) {
	t.Helper()
	began := c.soFar()
	least := 0
	await.Until(t, func() bool {
		for i := range c.sent {
			if c.sent[i].Load() < began[i]+more && !excused(c.conns[i]) {
				least = i
				return false
			}
		}
		return true
	}, func() {
		t.Errorf("client %d cannot talk: it has sent %d messages, and %d when the wait began", least, c.sent[least].Load(), began[least])
	})
}

// soFar is what each client has finished.
func (c *chatter) soFar() (counts []int64) {
	for i := range c.sent {
		counts = append(counts, c.sent[i].Load())
	}
	return counts
}

// eventRE is a record that is not a whole message.
var eventRE = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (?:from \S+ \[[a-z]+\]: .*|from \S+: after the crash|open from \S+|close from \S+: [a-z]+, \d+ records, \d+ bytes)$`)

// counted reads the record files in dir, which must be whole lines, and returns how many messages
// of each client are there, which must be the first ones, each once and in order.
func counted(t *testing.T, dir string, clients int) []int64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "records-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	counts := make([]int64, clients)
	for _, f := range append(files, filepath.Join(dir, "records.log")) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			head, said, _ := strings.Cut(line, ": client ")
			who, _, isChat := strings.Cut(said, " message ")
			if !isChat || strings.HasSuffix(head, "]") {
				if l, ended := strings.CutSuffix(line, "\n"); !ended || !eventRE.MatchString(l) {
					t.Fatalf("%s: got line %q, want a record", filepath.Base(f), line)
				}
				continue
			}
			i, _ := strconv.Atoi(who)
			if want := message(i, counts[i]); ": "+want != line[len(head):] {
				t.Fatalf("%s: got %q, want %q", filepath.Base(f), line, want)
			}
			counts[i]++
		}
	}
	return counts
}

// TestSIGTERMKeepsWhatWasSentBefore it, of 200 clients in the middle of talking.
func TestSIGTERMKeepsWhatWasSentBefore(t *testing.T) {
	const clients = 200
	dir := t.TempDir()
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", `drain_timeout = "1s"`, "max_size = \"1MiB\"\nmax_backups = 0\ncompress = false"))
	c := chat(t, address, clients)
	c.awaitMore(t, 20)
	signal := func(sig os.Signal) {
		if err := d.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP) // so that much is sent and nothing of it read when the signal comes
	c.awaitMoreOrFull(t, 20)
	before := c.soFar()
	signal(syscall.SIGTERM)
	signal(syscall.SIGCONT)
	d.hear("msg=draining ")
	close(c.stop)
	if status := d.ends(); status != 0 {
		t.Errorf("status: got %d, want 0", status)
	}
	c.talking.Wait()
	got := counted(t, dir, clients)
	for i := range clients {
		if got[i] < before[i] {
			t.Errorf("client %d: got %d messages, want the %d that it had sent before the signal", i, got[i], before[i])
		}
	}
}

// TestSIGTERMWithoutTimeRecordsWhatHasArrived is the same with drain_timeout 0 and clients that
// wait.
func TestSIGTERMWithoutTimeRecordsWhatHasArrived(t *testing.T) {
	const clients, messages = 50, 100
	dir := t.TempDir()
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", `drain_timeout = "0s"`, ""))
	for range clients {
		conn := greeted(t, address)
		for n := range messages {
			say(t, conn, fmt.Sprintf("%d\n", n))
		}
		await.Until(t, func() bool { return unacknowledged(t, conn) == 0 }, func() { t.Error("the client's bytes do not arrive") })
	}
	records := d.stops(dir)
	if got := strings.Count(records, ": 99\n"); got != clients {
		t.Errorf("got the last message of %d clients, want %d", got, clients)
	}
	if got := strings.Count(records, ": drain, 100 records, 290 bytes\n"); got != clients {
		t.Errorf("got %d clients closed by the drain with all they had said, want %d", got, clients)
	}
}

// TestSIGKILLLeavesWholeLines but for the last, which the next start cuts off.
func TestSIGKILLLeavesWholeLines(t *testing.T) {
	const clients, rounds = 20, 3
	for round := range rounds {
		dir := t.TempDir()
		config := settings(t, dir, "127.0.0.1:0", `drain_timeout = "0s"`, "max_size = \"300KiB\"\nmax_backups = 0\ncompress = false")
		d, address := daemonOf(t, config)
		c := chat(t, address, clients)
		c.awaitMore(t, int64(10+50*round))
		_ = d.cmd.Process.Kill()
		d.ends()
		c.talking.Wait()

		path := filepath.Join(dir, "records.log")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		torn := ""
		if i := strings.LastIndexByte(string(text), '\n') + 1; i < len(text) {
			torn = string(text[i:])
		} else if round == 0 { // chance seldom tears one
			torn = string(text[:30])
			appendTo(t, path, torn)
		}
		d, address = daemonOf(t, config)
		conn := greeted(t, address)
		say(t, conn, "after the crash\n")
		recorded(t, dir, ": after the crash\n")
		got := d.stops(dir)
		if torn != "" {
			want := string(text[:strings.LastIndexByte(string(text), '\n')+1])
			if rest, ok := strings.CutPrefix(got, want); !ok || strings.Contains(rest, torn) {
				t.Errorf("round %d: the torn line %q is not cut off in %q", round, torn, tail(got))
			}
		}
		if counts := counted(t, dir, clients); slices.Max(counts) == 0 {
			t.Errorf("round %d: got no messages at all", round)
		}
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
}

func tail(s string) string { return s[max(0, len(s)-500):] }

// TestTooFewDescriptorsKeepClientsWaiting until somebody leaves; meanwhile nothing spins.
func TestTooFewDescriptorsKeepClientsWaiting(t *testing.T) {
	const clients = 500
	dir := t.TempDir()
	config := settings(t, dir, "127.0.0.1:0", "", "")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 64; exec "$0" "$@"`, built, "run", "--config", config)
	d, address := started(t, cmd)
	clitest.Contains(t, "log", d.seen, `msg="there are too few descriptors for limits.clients: the surplus waits" clients=10000 served=`)
	var conns []*net.TCPConn
	for range clients {
		conns = append(conns, dial(t, address))
	}
	d.hear("as many clients as limits.clients allows, new ones wait")
	before := cpuTime(t, cmd.Process.Pid)
	time.Sleep(time.Second) // the time for which CPU time is measured: nothing happens
	if used := cpuTime(t, cmd.Process.Pid) - before; used > 200*time.Millisecond {
		t.Errorf("it took %v of CPU time while its clients waited for a second, want no spinning", used)
	}
	for _, conn := range conns { // as each leaves, another's turn comes
		hear(t, conn, "Welcome connect!\r\n")
		say(t, conn, "hello\n")
		_ = conn.Close()
	}
	var records []byte
	await.Until(t, func() bool {
		// It is there: clients have been greeted.
		records, _ = os.ReadFile(filepath.Join(dir, "records.log"))
		return strings.Count(string(records), ": hello\n") == clients
	}, func() { t.Errorf("got %d of %d records", strings.Count(string(records), ": hello\n"), clients) })
	d.stops(dir)
	if used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); used > 5*time.Second {
		t.Errorf("it took %v of CPU time, want no spinning", used)
	}
}

// TestAReloadChangesNoCapacity though each client costs several descriptors: as many are let in
// afterwards as before.
func TestAReloadChangesNoCapacity(t *testing.T) {
	dir := t.TempDir()
	config := settings(t, dir, "127.0.0.1:0", "model = \"process\"\nlimits.clients = 40", "")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 180; exec "$0" "$@"`, built, "run", "--config", config)
	d, address := started(t, cmd)
	var conns []*net.TCPConn
	come := func(n int) {
		t.Helper()
		for range n {
			conns = append(conns, greeted(t, address))
		}
	}
	come(40)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	d.hear("msg=\"configuration reloaded\"")
	for _, conn := range conns[:20] {
		_ = conn.Close()
	}
	come(20)
	if got := d.stops(dir); strings.Contains(d.seen, "there are too few descriptors") {
		t.Errorf("got a warning of too few descriptors, want none: %q, %q", d.seen, tail(got))
	}
}

// cpuTime is how long a process has been at work (proc(5), /proc/PID/stat): a clock tick is a
// hundredth of a second.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, behind, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behind)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func TestClientBytesAreNeverInTheLogFile(t *testing.T) {
	const hostile = "SECRET\x1b]0;owned\x07\n\r\nlevel=ERROR msg=forged\n\xff\x00SECRET"
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "daemon.log")
	config := settings(t, dir, "127.0.0.1:0", "", "[log]\nfile = "+strconv.Quote(log)+"\nlevel = \"debug\"")
	cmd := tcpmux(t, "run", "--config", config)
	d := converse(t, cmd, cmd.StderrPipe)
	var text string
	wait := func(want string) {
		t.Helper()
		await.Until(t, func() bool {
			b, _ := os.ReadFile(log)
			text = string(b)
			return strings.Contains(text, want)
		}, func() { t.Errorf("log: got %q, want %q", text, want) })
	}
	wait("msg=ready ")
	conn := greeted(t, addressIn(text))
	say(t, conn, hostile)
	_ = conn.CloseWrite()
	wait("session closed")
	d.stops(dir)
	wait("msg=drained")
	for _, where := range []string{text, d.seen} {
		for _, never := range []string{"SECRET", "\x1b", "forged", "owned"} {
			if strings.Contains(where, never) {
				t.Errorf("got %q, want no %q in it", where, never)
			}
		}
	}
	fields := regexp.MustCompile(`(?m)^time=\S+ level=DEBUG msg="session closed" listener=tcpmux remote=` + regexp.QuoteMeta(conn.LocalAddr().String()) +
		` session=[0-9a-f-]+ reason=eof records=4 bytes=` + strconv.Itoa(len(hostile)) + ` duration=\S+$`)
	if !fields.MatchString(text) {
		t.Errorf("log: got %q, want a line that matches %v", text, fields)
	}
}
