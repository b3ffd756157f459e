//go:build e2e

package e2e

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// awaitOther waits until the daemon is another process than was, and is ready.
func (r *rig) awaitOther(was string) {
	r.t.Helper()
	r.await("a new daemon, ready", func() bool {
		now := r.mainPID()
		return now != was && now != "0" && r.show("tcpmux.service", "SubState") == "running"
	})
}

// A client that connects during a restart waits in the kernel's queue. A connected client ends in
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

// watched boots a rig whose daemon has this time to show that it is alive.
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
	late.tear() // the old daemon may have accepted it before it ended
	r.mustVisit()
	if got := r.show("tcpmux.service", "NRestarts"); got != "1" {
		t.Errorf("restarts: got %s, want 1", got)
	}
}

// However often the daemon dies, the port accepts clients, and the next daemon serves them.
func TestManyKillsLeaveThePort(t *testing.T) {
	r := serving(t)
	r.explain(`Failed to start tcpmux`) // killed before systemd has run ExecStartPost=
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

// size returns a file's length in bytes; 0 if it does not exist.
func (r *rig) size(file string) int64 {
	st, err := os.Stat(r.path(file))
	if err != nil {
		return 0
	}
	return st.Size()
}

// After a kill under load the file has complete lines without gaps, as far as it goes.
func TestKillUnderLoad(t *testing.T) {
	r := serving(t)
	r.explain(`Failed to start tcpmux`) // killed before systemd has run ExecStartPost=
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

// The port stays open while the daemon cannot start, here because of its configuration. Once it can
// start, the clients that have waited are served.
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
