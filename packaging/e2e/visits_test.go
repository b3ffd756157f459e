//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	staying   = 5000 // clients
	visitRate = 2000 // visits per second, if the machine can do that
	visitors  = 16   // clients that make them
	lingerers = 100  // clients that make longer ones, which get into the ring
)

// visitTime returns how long clients visit: the value of E2E_VISITS, such as "60s", or long enough
// to show what grows.
func visitTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("E2E_VISITS")
	if text == "" {
		return 8 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("E2E_VISITS: %v", err)
	}
	return d
}

// visits counts clients that connect, get the banner and leave.
type visits struct {
	r        *rig
	n, fails atomic.Int64
}

// one makes one visit, which stays for a while. It comes from one of many addresses, as all ports
// of a single one would soon be in TIME_WAIT.
func (v *visits) one(stay time.Duration) {
	n := v.n.Add(1)
	conn, err := v.r.net.dialFrom(&net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8)&15, byte(n))}, port)
	if err != nil {
		v.fails.Add(1)
		return
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(banner))); err != nil {
		v.fails.Add(1)
	}
	time.Sleep(stay) // the length of the visit
}

// many has clients visit for a time, and returns when they have left.
func (v *visits) many(during time.Duration) {
	end := time.Now().Add(during)
	var visiting sync.WaitGroup
	for range visitors {
		visiting.Go(func() {
			for next := time.Now(); next.Before(end); next = next.Add(visitors * time.Second / visitRate) {
				// The pace; a late visitor does not wait.
				time.Sleep(time.Until(next))
				v.one(0)
			}
		})
	}
	for range lingerers {
		visiting.Go(func() {
			for time.Now().Before(end) {
				v.one(1500 * time.Millisecond) // longer than survive_after
			}
		})
	}
	visiting.Wait()
}

// daemon is the daemon's process.
type daemon struct {
	r    *rig
	pid  string
	ends []string // its descriptors whose queues hold descriptors: those of the ring
}

// burden is what the daemon uses at one moment, or the most of several.
type burden struct {
	descriptors int
	queued      int // descriptors in the ring's queue, which the process does not have open
	memory      int // KiB of anonymous memory
	stored      int // descriptors that systemd stores
}

func (b burden) String() string {
	return fmt.Sprintf("%d descriptors, %d in the queue, %d stored, %d KiB", b.descriptors, b.queued, b.stored, b.memory)
}

var (
	// Descriptors in a socket's queue, since Linux 5.11 (proc_pid_fdinfo(5)).
	lying     = regexp.MustCompile(`(?m)^scm_fds:\s*(\d+)$`)
	anonymous = regexp.MustCompile(`(?m)^RssAnon:\s*(\d+) kB$`)
)

// look returns the daemon that runs. A client must be in the ring by then.
func (r *rig) look() *daemon {
	r.t.Helper()
	d := &daemon{r: r, pid: r.mainPID()}
	for _, fd := range d.list("fd") {
		if figure(lying, d.read("fdinfo/"+fd)) > 0 {
			d.ends = append(d.ends, fd)
		}
	}
	if len(d.ends) == 0 {
		r.t.Fatal("ring: got no socket in which the kernel says that descriptors lie")
	}
	return d
}

func (d *daemon) path(file string) string { return d.r.path("/proc/" + d.pid + "/" + file) }

// list returns the names in a directory of the process.
func (d *daemon) list(dir string) (names []string) {
	d.r.t.Helper()
	all, err := os.ReadDir(d.path(dir))
	if err != nil {
		d.r.t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

// read returns a file of the process; "" if it has gone.
func (d *daemon) read(file string) string {
	b, _ := os.ReadFile(d.path(file)) // a descriptor is closed at any time
	return string(b)
}

// burden returns what the daemon uses now.
func (d *daemon) burden() burden {
	d.r.t.Helper()
	b := burden{descriptors: len(d.list("fd")), memory: figure(anonymous, d.read("status"))}
	for _, fd := range d.ends {
		b.queued += figure(lying, d.read("fdinfo/"+fd))
	}
	b.stored, _ = strconv.Atoi(d.r.show("tcpmux.service", "NFileDescriptorStore"))
	return b
}

// figure returns the number that a pattern finds; 0 if it finds none.
func figure(pattern *regexp.Regexp, text string) (n int) {
	if m := pattern.FindStringSubmatch(text); m != nil {
		n, _ = strconv.Atoi(m[1]) // they are digits
	}
	return n
}

// most returns the most that the daemon uses while do runs, and how often that was measured.
func (d *daemon) most(do func()) (most burden, looks int) {
	d.r.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	for {
		b := d.burden()
		looks++
		most.descriptors, most.queued = max(most.descriptors, b.descriptors), max(most.queued, b.queued)
		most.memory, most.stored = max(most.memory, b.memory), max(most.stored, b.stored)
		select {
		case <-done:
			return most, looks
		case <-time.After(time.Second):
		}
	}
}

// managerTime returns the processor time of the machine's systemd, in steps of 10 ms
// (proc_pid_stat(5)).
func (r *rig) managerTime() time.Duration {
	r.t.Helper()
	text := r.read("/proc/1/stat")
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err, err2); err != nil {
		r.t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// Visits next to clients that stay do not use more the longer they go on. They leave nothing
// behind: no descriptor, no memory, nothing in the ring's queue and nothing in systemd's store.
// They cause systemd no work.
func TestVisitsLeaveNothingBehind(t *testing.T) {
	r := serving(t)
	stay := &throng{r: r}
	stay.join(staying)
	stay.settled()
	v := &visits{r: r}
	v.many(4 * time.Second) // what is made once and kept is made here
	d := r.look()
	before, spent, n := d.burden(), r.managerTime(), v.n.Load()
	most, looks := d.most(func() { v.many(visitTime(t)) })
	spent, n = r.managerTime()-spent, v.n.Load()-n
	t.Logf("%d visits beside %d clients; before: %v; most: %v; systemd: %v", n, staying, before, most, spent)
	const stored = 5 // two ends of the ring, the state, the journal and the configuration
	if before.stored != stored {
		t.Errorf("stored descriptors: got %d, want %d", before.stored, stored)
	}
	if fails := v.fails.Load(); fails > 0 {
		t.Errorf("visits that failed: got %d, want none", fails)
	}
	for _, c := range []struct {
		name      string
		got, want int
	}{
		// Some clients are just leaving.
		{"descriptors", most.descriptors, before.descriptors + visitors + lingerers + 200},
		{"descriptors in the queue", most.queued, 2 * staying},
		{"KiB of memory", most.memory, before.memory * 3 / 2},
		{"stored descriptors", most.stored, stored},
		// 10 µs per visit, and what measuring takes.
		{"systemd's ms", int(spent.Milliseconds()), int(n)/100 + 10*looks},
	} {
		if c.got > c.want {
			t.Errorf("%s: got %d, want %d at the most", c.name, c.got, c.want)
		}
	}
	r.await("only those who stay", func() bool {
		b := d.burden()
		return b.descriptors <= before.descriptors && b.queued <= staying
	})
	for _, m := range stay.members {
		if err := m.bye(); err != nil {
			t.Fatal(err)
		}
	}
}
