//go:build e2e

package e2e

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// awaitOther returns when the daemon runs as another process than was, and is ready.
func (r *rig) awaitOther(was string) {
	r.t.Helper()
	r.await("a new daemon, ready", func() bool {
		now := r.mainPID()
		return now != was && now != "0" && r.show("tcpmux.service", "SubState") == "running"
	})
}

// A client that comes during a restart waits in the kernel's queue, and one that is there ends in
// good order or goes on.
func TestRestartRefusesNobody(t *testing.T) {
	r := serving(t)
	talking := r.chatters(50)
	coming := r.newcomers()
	for range 5 {
		r.run("systemctl", "restart", "tcpmux.service")
	}
	if err := coming.dismiss(); err != nil {
		t.Errorf("newcomers: %v", err)
	}
	if _, err := talking.dismiss(); err != nil {
		t.Errorf("talking clients: %v", err)
	}
	t.Logf("%d visits over 5 restarts", coming.rounds.Load())
}

// watched is a rig whose daemon has so long to show that it lives.
func watched(t *testing.T, interval string) *rig {
	t.Helper()
	r := installed(t)
	r.write("/etc/systemd/system/tcpmux.service.d/e2e.conf", "[Service]\nWatchdogSec="+interval+"\n")
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "start", "tcpmux.socket")
	return r
}

func TestWatchdogRestartsAHungDaemon(t *testing.T) {
	r := watched(t, "2s")
	r.explain(`Watchdog timeout \(limit 2s\)`)
	r.mustVisit()
	was := r.mainPID()
	r.run("kill", "-STOP", was)
	late, err := r.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	r.awaitOther(was)
	late.tear() // between the waking and the end the old daemon may have taken it along
	r.mustVisit()
	if got := r.show("tcpmux.service", "NRestarts"); got != "1" {
		t.Errorf("restarts: got %s, want 1", got)
	}
}

// However often the daemon dies, the port takes clients and the next daemon serves them.
func TestManyKillsLeaveThePort(t *testing.T) {
	r := serving(t)
	r.killed = true
	r.mustVisit()
	for range 8 {
		talking := r.mustCall()
		if err := talking.say(3); err != nil {
			t.Fatal(err)
		}
		was := r.mainPID()
		r.run("kill", "-KILL", was)
		waiting, err := r.dial(port)
		if err != nil {
			t.Fatalf("a client right after the kill: %v", err)
		}
		talking.tear()
		r.awaitOther(was)
		if err := waiting.greeted(banner); err != nil {
			t.Fatal(err)
		}
		if err := waiting.say(3); err != nil {
			t.Error(err)
		}
		if err := waiting.bye(); err != nil {
			t.Error(err)
		}
	}
}

// size is a file's length in bytes; 0 when there is none.
func (r *rig) size(file string) int64 {
	st, err := os.Stat(r.path(file))
	if err != nil {
		return 0
	}
	return st.Size()
}

// A kill in the middle of a torrent leaves whole lines, without gaps, as far as they go.
func TestKillUnderLoad(t *testing.T) {
	r := serving(t)
	r.killed = true
	for range 2 {
		var torrent sync.WaitGroup
		size := r.size(records)
		for range 50 {
			k := r.mustCall()
			torrent.Go(func() {
				defer k.tear()
				for k.said < 5000 && k.say(100) == nil {
				}
			})
		}
		was := r.mainPID()
		r.await("records", func() bool { return r.size(records) > size+100_000 })
		r.run("kill", "-KILL", was)
		torrent.Wait()
		r.awaitOther(was)
	}
	r.mustVisit()
}

// A daemon that cannot even start, here for its configuration, keeps the port: once it can, who has
// waited is served.
func TestBrokenConfigurationKeepsThePort(t *testing.T) {
	r := installed(t)
	r.explain(`Failed to start tcpmux`, `tcpmux\.toml`)
	r.edit(toml, `backlog = 4096`, `backlog = -1`)
	r.run("systemctl", "start", "tcpmux.socket")
	waiting, err := r.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	r.await("the fault in the journal", func() bool {
		return strings.Contains(r.run("journalctl", "-q", "-u", "tcpmux.service", "-o", "cat"), "backlog is -1")
	})
	r.edit(toml, `backlog = -1`, `backlog = 4096`)
	if err := waiting.greeted(banner); err != nil {
		t.Fatal(err)
	}
	if err := waiting.say(3); err != nil {
		t.Error(err)
	}
	if err := waiting.bye(); err != nil {
		t.Error(err)
	}
}
