package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
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
	d := newDesk(t, byProcess).open()
	first := d.greeted()
	first.say("before\n")
	eventually(t, func() bool { return strings.Contains(d.out.String(), ": before\n") }, func() { t.Error("nothing is recorded") })
	victim := d.children()[0].process.Pid
	second := d.greeted()
	if err := unix.Kill(victim, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	first.hearEnd()
	eventually(t, func() bool { return strings.Contains(d.out.String(), ": process, 1 records, 7 bytes\n") }, func() {
		t.Errorf("got %q, want the first client closed with the reason", d.out)
	})
	second.say("after\n")
	eventually(t, func() bool { return strings.Contains(d.out.String(), ": after\n") }, func() { t.Error("the other client is not served any more") })
	eventually(t, func() bool { return errors.Is(unix.Kill(victim, 0), unix.ESRCH) }, func() { t.Errorf("process %d is not reaped", victim) })
}

// TestAProcessThatStandsStillIsKilled at the end, and does not keep the daemon.
func TestAProcessThatStandsStillIsKilled(t *testing.T) {
	d := newDesk(t, byProcess).open()
	d.greeted()
	stopped := d.children()[0].process.Pid
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

// TestAProcessIsShutIn holds that the process of a client is under a filter of system calls and can gain no privilege.
func TestAProcessIsShutIn(t *testing.T) {
	d := newDesk(t, byProcess).open()
	d.greeted()
	pid := d.children()[0].process.Pid
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("/proc/%d/status lacks %q:\n%s", pid, want, status)
		}
	}
}

func TestParcelsGiveBackWhatWasPacked(t *testing.T) {
	var e parcelEncoder
	e.Begin(nil, time.Time{})
	packed := []record.Message{
		{Data: []byte("one\x00"), End: []byte("\r\n")},
		{Offset: 7, Flag: "cut"},
		{Offset: 1 << 40, Head: []byte("8 "), Data: []byte("three"), Flag: "timeout"},
	}
	var parcel []byte
	for _, m := range packed {
		parcel = e.Message(parcel, m)
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
func FuzzUnpack(f *testing.F) {
	f.Add(parcelEncoder{}.Message(nil, record.Message{Offset: 5, Data: []byte("hello"), Flag: "eof"}))
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
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
			if line := enc.Message(nil, m); bytes.Count(line, []byte("\n")) != 1 {
				t.Fatalf("%q makes more than a line: %q", b, line)
			}
			b = rest
		}
	})
}
