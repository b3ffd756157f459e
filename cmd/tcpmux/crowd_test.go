package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd is who is there at once in TestNobodyStarvesBesideAFlood.
type crowd struct {
	idle, trickling, flooding int
	lasting                   time.Duration
}

// crowdVariable, set to anything, has the test be of the size that the daemon is made for: a minute
// of 11,004 clients.
const crowdVariable = "TCPMUX_TEST_CROWD"

// TestNobodyStarvesBesideAFlood: those who say a line now and then see it recorded within a second,
// though some send as fast as they can, and the daemon's memory stays bounded.
func TestNobodyStarvesBesideAFlood(t *testing.T) {
	size := crowd{idle: 300, trickling: 100, flooding: 4, lasting: 2 * time.Second}
	if os.Getenv(crowdVariable) != "" {
		size = crowd{idle: 10_000, trickling: 1000, flooding: 4, lasting: time.Minute}
	}
	const bound, memory, rounds = time.Second, 192 << 20, 3
	var worst time.Duration
	var most int
	for range rounds { // a stall of the machine may spoil one; who starves does so in all
		if worst, most = size.gather(t); worst < bound && most < memory {
			return
		}
	}
	t.Errorf("the slowest line took %v and the daemon %d MiB, want less than %v and %d MiB", worst, most>>20, bound, memory>>20)
}

// gather has the crowd come, and returns how long the slowest line took to be recorded and how much
// memory the daemon had.
func (c crowd) gather(t *testing.T) (slowest time.Duration, memory int) {
	dir := t.TempDir()
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", "banner = \"\"\nack = \"{offset}\\n\"\nlimits.clients = 20000", "max_backups = 2\ncompress = false"))
	defer d.stops(dir)
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	connect := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		return conn
	}
	for range c.idle {
		connect()
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	flooded := make([]int64, c.flooding)
	for i := range c.flooding {
		conn := connect()
		go func() { _, _ = io.Copy(io.Discard, conn) }() // its acknowledgements
		busy.Go(func() { flooded[i] = flood(conn, stop) })
	}
	took := make([][]time.Duration, c.trickling)
	for i := range c.trickling {
		conn := connect()
		busy.Go(func() { took[i] = trickle(t, conn, i, stop) })
	}
	// The load lasts for a time that the test chooses, and the memory is measured meanwhile.
	for end := time.Now().Add(c.lasting); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		memory = max(memory, residentMemory(t, d.cmd.Process.Pid))
	}
	close(stop)
	for _, conn := range conns[c.idle : c.idle+c.flooding] {
		_ = conn.SetDeadline(time.Now())
	}
	busy.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	total := int64(0)
	for _, n := range flooded {
		total += n
	}
	if len(all) < c.trickling || total == 0 {
		t.Fatalf("got %d lines recorded and %d bytes flooded, want some of each", len(all), total)
	}
	t.Logf("%d lines: half within %v, 99 %% within %v, all within %v; beside them %d MB/s of %d; memory %d MiB", len(all), all[len(all)/2],
		all[len(all)*99/100], all[len(all)-1], total/1e6/int64(c.lasting/time.Second), c.flooding, memory>>20)
	return all[len(all)-1], memory
}

// flood sends lines as fast as they are taken, and returns how many bytes.
func flood(conn net.Conn, stop <-chan struct{}) (sent int64) {
	lines := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 600))
	for {
		select {
		case <-stop:
			return sent
		default:
		}
		n, err := conn.Write(lines)
		if sent += int64(n); err != nil {
			return sent
		}
	}
}

// trickle sends a line in three pieces, waits until it is recorded, and begins again in a while.
func trickle(t *testing.T, conn net.Conn, i int, stop <-chan struct{}) (took []time.Duration) {
	in := bufio.NewReader(conn)
	for pause := time.Duration(i%10) * 100 * time.Millisecond; ; pause = time.Second {
		select {
		case <-stop:
			return took
		case <-time.After(pause):
		}
		began := time.Now()
		for _, piece := range []string{"a line", " of three", " pieces\n"} {
			if _, err := io.WriteString(conn, piece); err != nil {
				t.Errorf("client %d: %v", i, err)
				return took
			}
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := in.ReadString('\n'); err != nil {
			t.Errorf("client %d: %v", i, err)
			return took
		}
		took = append(took, time.Since(began))
	}
}

// residentMemory is how much memory a process has of its own (proc(5), RssAnon).
func residentMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("got no RssAnon: %s", status)
	}
	kib, _ := strconv.Atoi(string(m[1]))
	return kib << 10
}
