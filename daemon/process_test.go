package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
	"tcpmux/internal/fuzzing"
)

func byProcess(c *config.Config) { c.Listeners[0].Model = "process" }

// children are the processes that serve the clients of a desk.
func (d *desk) children() (all []*child) {
	d.srv.mu.Lock()
	defer d.srv.mu.Unlock()
	for s := range d.srv.sessions {
		all = append(all, s.model.(*child))
	}
	return all
}

func TestAProcessDiesAlone(t *testing.T) {
	d := newDesk(t, func(c *config.Config) { c.Listeners[0].Model, c.Listeners[0].Framing = "process", "octet-counted" }).open()
	first := d.greeted()
	first.say("6 before")
	eventually(t, func() bool { return strings.Contains(d.out.String(), ": before\n") }, func() { t.Error("nothing is recorded") })
	victim := d.children()[0].pid()
	second := d.greeted()
	if err := unix.Kill(victim, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	first.hearEnd()
	eventually(t, func() bool { return strings.Contains(d.out.String(), ": process, 1 records, 8 bytes\n") }, func() {
		t.Errorf("got %q, want the first client closed with the reason", d.out)
	})
	second.say("5 after")
	eventually(t, func() bool { return strings.Contains(d.out.String(), ": after\n") }, func() { t.Error("the other client is not served any more") })
	eventually(t, func() bool { return errors.Is(unix.Kill(victim, 0), unix.ESRCH) }, func() { t.Errorf("process %d is not reaped", victim) })
}

// TestAProcessThatStandsStillIsKilled at the end, and does not keep the daemon.
func TestAProcessThatStandsStillIsKilled(t *testing.T) {
	d := newDesk(t, byProcess).open()
	d.greeted()
	stopped := d.children()[0].pid()
	if err := unix.Kill(stopped, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.srv.drain()
	d.srv.expire()
	eventually(t, func() bool { return d.srv.Clients() == 0 }, func() { t.Error("the session does not end") })
	if !strings.Contains(d.log.String(), "session process did not end in time and was killed") {
		t.Errorf("log: got %s, want why", d.log)
	}
}

// TestAProcessLeavesSignalsToTheDaemon: systemctl kill, or a terminal, sends them to every process of the service.
func TestAProcessLeavesSignalsToTheDaemon(t *testing.T) {
	d := newDesk(t, byProcess).open()
	c := d.greeted()
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
		if err := unix.Kill(d.children()[0].pid(), s); err != nil {
			t.Fatal(err)
		}
		c.say(s.String() + "\n")
		eventually(t, func() bool { return strings.Contains(d.out.String(), ": "+s.String()+"\n") }, func() {
			t.Fatalf("after %v the client is not served any more: %s", s, d.log)
		})
	}
}

// TestAProcessIsShutIn holds that the process of a client is under a filter of system calls and can gain no privilege.
func TestAProcessIsShutIn(t *testing.T) {
	d := newDesk(t, byProcess).open()
	d.greeted()
	pid := d.children()[0].pid()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	filter := "Seccomp:\t2\n"
	if len(sessionCalls) == 0 { // not on this machine
		filter = "Seccomp:\t0\n"
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", filter} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("/proc/%d/status lacks %q:\n%s", pid, want, status)
		}
	}
}

// pid is that of the process that serves the connection.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.worker.process.Pid
}

// visit is greeted, says a line and leaves; it returns the process that served it.
func (d *desk) visit(line string) (pid int) {
	d.t.Helper()
	c := d.greeted()
	pid = d.children()[0].pid()
	c.say(line + "\n")
	_ = c.Close()
	eventually(d.t, func() bool { return d.srv.Clients() == 0 }, func() { d.t.Error("the session does not end") })
	if !strings.Contains(d.out.String(), ": "+line+"\n") {
		d.t.Errorf("got %q, want %q recorded", d.out, line)
	}
	return pid
}

func TestAProcessServesOneAfterAnother(t *testing.T) {
	d := newDesk(t, func(c *config.Config) { byProcess(c); c.Listeners[0].ClientsPerProcess = 2 }).open()
	first, second, third := d.visit("one"), d.visit("two"), d.visit("three")
	if first != second || third == first {
		t.Errorf("served by processes %d, %d and %d, want the first two to be one and the third another", first, second, third)
	}
	if err := unix.Kill(first, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d, which has served its clients: got %v, want it reaped", first, err)
	}
}

func TestNoProcessServesTwoAtOnce(t *testing.T) {
	d := newDesk(t, byProcess).open()
	d.visit("before")
	seen := map[int]bool{}
	for range 5 {
		d.greeted()
	}
	for _, c := range d.children() {
		seen[c.pid()] = true
	}
	if len(seen) != 5 {
		t.Errorf("5 clients are served by %d processes", len(seen))
	}
}

func TestAProcessThatDiesAtRestHarmsNobody(t *testing.T) {
	d := newDesk(t, byProcess).open()
	victim := d.visit("one")
	if err := unix.Kill(victim, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return zombie(victim) }, func() { t.Errorf("process %d does not die", victim) })
	if next := d.visit("two"); next == victim {
		t.Errorf("served by process %d, which is dead", next)
	}
	eventually(t, func() bool { return errors.Is(unix.Kill(victim, 0), unix.ESRCH) }, func() { t.Errorf("process %d is not reaped", victim) })
}

// zombie says whether a process has died, with all its threads, and waits to be reaped.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	threads, terr := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z ")) && terr == nil && len(threads) == 1
}

func TestRestingProcessesEndWithTheServer(t *testing.T) {
	d := newDesk(t, byProcess).open()
	pid := d.visit("one")
	d.close()
	eventually(t, func() bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }, func() { t.Errorf("process %d is left behind", pid) })
}

func TestAClientWaitsForAProcess(t *testing.T) {
	d := newDesk(t, byProcess)
	var tries atomic.Int64
	d.srv.workers.start = func() (*worker, error) {
		if tries.Add(1) <= 3 {
			return nil, unix.EAGAIN
		}
		return startWorker()
	}
	d.open()
	d.visit("patient")
	for _, want := range []string{"session processes cannot be started, their clients wait", "session processes can be started again"} {
		if n := strings.Count(d.log.String(), want); n != 1 {
			t.Errorf("log: %q %d times, want once:\n%s", want, n, d.log)
		}
	}
}

func TestShutdownDoesNotWaitForAProcess(t *testing.T) {
	d := newDesk(t, byProcess)
	d.srv.workers.start = func() (*worker, error) { return nil, unix.EAGAIN }
	d.open()
	d.client()
	d.awaitClients(1)
	d.close()
	d.awaitClients(0)
}

// TestAProcessHasOneMemory: what a process may map is bounded, and the longest message fits.
func TestAProcessHasOneMemory(t *testing.T) {
	d := newDesk(t, func(c *config.Config) { byProcess(c); c.Listeners[0].MaxMessage = 16 << 20 }).open()
	c := d.greeted()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", d.children()[0].pid()))
	if want := fmt.Sprintf("Max data size             %d ", childMemory); err != nil || !bytes.Contains(limits, []byte(want)) {
		t.Errorf("limits: got %s, %v, want %q", limits, err, want)
	}
	long := strings.Repeat("long ", 16<<20/5)
	for range 3 {
		c.say(long + "\n")
	}
	_ = c.Close()
	eventually(t, func() bool { return d.srv.Clients() == 0 }, func() { t.Error("the session does not end") })
	if n := strings.Count(d.out.String(), ": "+long+"\n"); n != 3 {
		t.Errorf("recorded %d times, want 3; log: %s", n, d.log)
	}
}

// TestAParcelOfAnImpossibleSize holds that a session's process cannot have the daemon make room for what it will never send.
func TestAParcelOfAnImpossibleSize(t *testing.T) {
	for _, head := range []string{"m\x00\x00\x00\x00", "m\x00\x00\x00\x65", "m\x80\x00\x00\x00", "m\xff\xff\xff\xff"} {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if _, err := out.WriteString(head); err != nil {
			t.Fatal(err)
		}
		out.Close()
		if _, n, err := (&worker{channel: in}).next(100); !errors.Is(err, errParcel) {
			t.Errorf("%q: got %d bytes, %v, want %v", head, n, err, errParcel)
		}
	}
}

func TestParcelsGiveBackWhatWasPacked(t *testing.T) {
	e := parcelEncoder{&post{}}
	e.Begin(nil, time.Time{})
	packed := []record.Message{
		{Raw: []byte("one\x00\r\n"), EndLen: 2},
		{Offset: 7, Flag: "cut"},
		{Offset: 1 << 40, Raw: []byte("8 three"), HeadLen: 2, Flag: "timeout"},
	}
	var parcel []byte
	for _, m := range packed {
		parcel = e.Message(parcel, &m)
	}
	for _, want := range packed {
		got, rest, err := unpack(parcel)
		if g, w := fmt.Sprint(got), fmt.Sprint(want); err != nil || g != w {
			t.Errorf("got %s, %v, want %s", g, err, w)
		}
		parcel = rest
	}
	if len(parcel) != 0 {
		t.Errorf("%d bytes are left", len(parcel))
	}
}

// TestEveryReasonOfATalkPasses from a session's process to the daemon: those that do not are the daemon's alone.
func TestEveryReasonOfATalkPasses(t *testing.T) {
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	var alone []reason
	for _, m := range regexp.MustCompile(`(?m)^\tby\w+ +reason = "(\w*)"`).FindAllStringSubmatch(string(source), -1) {
		if e := (ending{why: reason(m[1])}); !e.why.isTalks() {
			alone = append(alone, e.why)
		} else if got, err := parseEnding(e.appendTo(nil)); got != e || err != nil {
			t.Errorf("got %+v, %v, want %+v", got, err, e)
		}
	}
	if want := []reason{byChild, bySuspect, byProxy, byRefusal, byExec, byTimeout}; !slices.Equal(alone, want) {
		t.Errorf("got %q for the daemon alone, want %q: a reason that a talk returns stands in isTalks", alone, want)
	}
}

func TestEndingsPass(t *testing.T) {
	want := ending{offset: 12, why: byIdle, err: "why"}
	if got, err := parseEnding(want.appendTo(nil)); got != want || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := parseEnding(ending{why: "forged\n2026"}.appendTo(nil)); !errors.Is(err, errParcel) {
		t.Errorf("a reason that there is not: got %v, want %v", err, errParcel)
	}
}

// FuzzUnpack holds that no process can make the daemon read beyond what it sent, or record what is no message.
func FuzzUnpack(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add(parcelEncoder{&post{}}.Message(nil, &record.Message{Offset: 5, Raw: []byte("hello\n"), EndLen: 1, Flag: "eof"}))
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 'x'})
	f.Add(ending{why: byEOF}.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parseEnding(b); err == nil && strings.ContainsAny(string(e.why), "\n\"") {
			t.Errorf("%q gives the reason %q", b, e.why)
		}
		enc := record.NewEncoder(record.Text)
		enc.Begin(&record.Source{}, time.Time{})
		for len(b) > 0 {
			m, rest, err := unpack(b)
			if err != nil {
				return
			}
			if m.Offset < 0 || len(rest) >= len(b) {
				t.Fatalf("%q: offset %d, %d bytes left of %d", b, m.Offset, len(rest), len(b))
			}
			want := 1
			if m.Flag == framing.Between.String() { // which text does not show
				want = 0
			}
			if text := enc.Message(nil, &m); bytes.Count(text, []byte("\n")) != want {
				t.Fatalf("%q: got %q, want %d lines", b, text, want)
			}
			b = rest
		}
	})
}
