package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tcpmux/internal/await"
)

// eachKills returns how often a trial kills the daemon: the value of KILLS, or what is enough for
// each commit.
func eachKills(t *testing.T, enough int) int {
	t.Helper()
	text := os.Getenv("KILLS")
	if text == "" {
		return enough
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("KILLS=%q: want a number from 1 on", text)
	}
	return n
}

// TestSIGKILLCostsNothingThatWasAcknowledged kills the daemon at any moment under load, again and
// again on one record file. KILLS=1000 makes the trial longer.
func TestSIGKILLCostsNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	kills := eachKills(t, 30)
	dir := t.TempDir()
	config := settings(t, dir, "127.0.0.1:0", `ack = "{offset}\n"`, `sync = "always"`)
	file := filepath.Join(dir, "records.log")
	read, acknowledged := 0, 0
	rnd := rand.New(rand.NewPCG(1, 1))
	for kill := range kills {
		d, address := daemonOf(t, config)
		var clients [6]acknowledgedClient
		var talking sync.WaitGroup
		for i := range clients {
			talking.Go(func() { clients[i].talk(t, address, fmt.Sprintf("kill %d client %d", kill, i)) })
		}
		time.Sleep(time.Duration(rnd.IntN(120)) * time.Millisecond) // any moment is right
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		talking.Wait()
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := string(content[read:])
		// What is behind it the next daemon cuts off.
		read += strings.LastIndexByte(lines, '\n') + 1
		seen := map[string]int{}
		for line := range strings.Lines(lines) {
			_, message, _ := strings.Cut(line, ": ")
			seen[message]++
		}
		for _, c := range clients {
			acknowledged += c.acknowledged
			for n := range c.acknowledged {
				if got := seen[c.message(n)]; got != 1 {
					t.Fatalf("got %q %d times, want it once: %d were acknowledged", c.message(n), got, c.acknowledged)
				}
			}
		}
	}
	if acknowledged < 10*kills {
		t.Errorf("got %d acknowledgements in %d lives, want more to prove something", acknowledged, kills)
	}
	t.Logf("%d messages were acknowledged", acknowledged)
}

// acknowledgedClient says messages, some ahead, and counts how many are acknowledged.
type acknowledgedClient struct {
	name         string
	acknowledged int
}

func (c *acknowledgedClient) message(n int) string { return fmt.Sprintf("%s message %d\n", c.name, n) }

// talk goes on until the connection ends.
func (c *acknowledgedClient) talk(t *testing.T, address, name string) {
	c.name = name
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return // it was killed before
	}
	defer conn.Close()
	heard := bufio.NewReader(conn)
	if _, err := heard.ReadString('\n'); err != nil { // the banner
		return
	}
	const ahead = 8
	offset := 0
	for n := 0; ; n++ {
		if _, err := conn.Write([]byte(c.message(n))); err != nil {
			return
		}
		if n < ahead {
			continue
		}
		ack, err := heard.ReadString('\n')
		if err != nil {
			return
		}
		if want := fmt.Sprintln(offset); ack != want {
			t.Errorf("%s: got acknowledgement %q, want %q", name, ack, want)
			return
		}
		offset += len(c.message(c.acknowledged))
		c.acknowledged++
	}
}

// TestSIGKILLLosesNothingOfLongMessages in any model, however often the daemon is killed in the
// middle of them, and however soon the next one starts.
func TestSIGKILLLosesNothingOfLongMessages(t *testing.T) {
	const clients, kills = 8, 8
	for _, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			dir, k := t.TempDir(), newKeeper(t)
			config := settings(t, dir, k.address, "banner = \"\"\nmax_message = \"8MiB\"\nmodel = \""+model+"\"", `format = "json"`)
			d := k.start(config)
			k.hears("FDSTOREREMOVE=1", 1) // the daemon knows that there is a store
			d.kill()
			d = k.start(config)
			long := talkLong(t, k.address, clients)
			opened(t, dir, clients)
			// From the next one on each client is kept.
			_ = d.cmd.Process.Signal(syscall.SIGINT)
			if status := d.ends(); status != 0 {
				t.Fatalf("status: got %d, want 0: %s", status, d.seen)
			}
			for range kills {
				d = k.start(config)
				long.awaitMore(t, 100<<10)
				d.kill()
			}
			d = k.start(config)
			long.end()
			d.stops(dir)
			got := proven(t, filepath.Join(dir, "records.log"))
			if got.Sessions != clients || got.Bytes != long.sent() {
				t.Errorf("got %d sessions and %d bytes, want %d and %d", got.Sessions, got.Bytes, clients, long.sent())
			}
		})
	}
}

// kill ends a daemon by SIGKILL, and returns in the moment in which a service manager would know.
func (d *dialogue) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait() // that it was killed
}

// opened waits until so many sessions are recorded as open.
func opened(t *testing.T, dir string, sessions int) {
	t.Helper()
	n := 0
	await.Until(t, func() bool {
		got, _ := os.ReadFile(filepath.Join(dir, "records.log"))
		n = strings.Count(string(got), `"kind":"open"`)
		return n == sessions
	}, func() { t.Errorf("open: got %d sessions, want %d", n, sessions) })
}

// longTalk is clients that are each in the middle of one long line.
type longTalk struct {
	counts  []atomic.Int64 // bytes that each client has sent
	talking sync.WaitGroup
	stop    chan struct{}
}

func talkLong(t *testing.T, address string, clients int) *longTalk {
	t.Helper()
	l := &longTalk{counts: make([]atomic.Int64, clients), stop: make(chan struct{})}
	for i := range clients {
		conn := dial(t, address)
		_ = conn.SetDeadline(time.Time{}) // the killing may take its time
		l.talking.Go(func() { l.talk(t, conn, &l.counts[i]) })
	}
	return l
}

// talk goes on until the end, and waits until the daemon has taken all.
func (l *longTalk) talk(t *testing.T, conn net.Conn, sent *atomic.Int64) {
	piece := strings.Repeat("x", 997)
	for stopped := false; !stopped; {
		select {
		case <-l.stop:
			piece, stopped = "\n", true
		case <-time.After(time.Millisecond): // the line is not to be too long in the end
		}
		n, err := io.WriteString(conn, piece)
		if sent.Add(int64(n)); err != nil {
			t.Errorf("client %v: %v", conn.LocalAddr(), err)
			return
		}
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("client %v: %v", conn.LocalAddr(), err)
	}
}

// awaitMore waits until every client has sent so many more bytes.
func (l *longTalk) awaitMore(t *testing.T, more int64) {
	t.Helper()
	var want []int64
	for i := range l.counts {
		want = append(want, l.counts[i].Load()+more)
	}
	await.Until(t, func() bool {
		for i := range want {
			if l.counts[i].Load() < want[i] {
				return false
			}
		}
		return true
	}, func() { t.Error("the clients cannot talk") })
}

// end ends the lines, and returns when all was taken.
func (l *longTalk) end() {
	close(l.stop)
	l.talking.Wait()
}

func (l *longTalk) sent() (n int64) {
	for i := range l.counts {
		n += l.counts[i].Load()
	}
	return n
}

// TestAProcessDiesWithItsDaemon, even one that stands still: it holds a connection that is the next
// daemon's.
func TestAProcessDiesWithItsDaemon(t *testing.T) {
	dir := t.TempDir()
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", `model = "process"`, ""))
	for range 3 {
		greeted(t, address)
	}
	children := childrenOf(t, d.cmd.Process.Pid)
	if len(children) != 3 {
		t.Fatalf("got processes %v, want 3", children)
	}
	for _, pid := range children {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	d.kill()
	for _, pid := range children {
		await.Until(t, func() bool { return dead(pid) }, func() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it is a stranger's now
			t.Errorf("process %d lives on", pid)
		})
	}
}

// childrenOf returns the processes that a process has started.
func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range all {
		child, _ := strconv.Atoi(filepath.Base(dir))
		if fields := stat(child); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	return children
}

// dead reports whether a process has died, though perhaps nobody has waited for it.
func dead(pid int) bool {
	fields := stat(pid)
	return len(fields) == 0 || fields[0] == "Z"
}

// stat returns what the kernel tells of a process, from its state on (proc(5), /proc/PID/stat);
// nothing when there is none.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, behind, _ := strings.Cut(string(text), ") ")
	return strings.Fields(behind)
}
