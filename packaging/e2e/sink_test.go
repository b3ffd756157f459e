//go:build e2e

package e2e

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// logDir is where a small file system stands for a disk.
const logDir = "/var/log/tcpmux"

// onSmallDisk opens the port of a daemon with a watchdog of three seconds, whose records go to a
// disk of a given size.
func onSmallDisk(t *testing.T, size string) *rig {
	t.Helper()
	r := watched(t, "3s")
	r.explain("records cannot be written, clients wait")
	r.run("mkdir", "-p", logDir)
	r.run("mount", "-t", "tmpfs", "-o", "mode=0750,size="+size, "disk", logDir)
	return r
}

// talk has n clients send lines without a pause; wait returns when all have sent theirs and left.
func (r *rig) talk(n, lines int) (wait func() error) {
	r.t.Helper()
	done := make(chan error)
	for range n {
		k := r.mustCall()
		go func() {
			for k.said < lines {
				if err := k.say(100); err != nil {
					done <- err
					return
				}
			}
			done <- k.bye()
		}()
	}
	return func() (err error) {
		for range n {
			err = errors.Join(err, <-done)
		}
		return err
	}
}

// stalled reports whether systemctl status shows that records cannot be written.
func (r *rig) stalled() bool {
	r.t.Helper()
	return strings.Contains(r.show("tcpmux.service", "StatusText"), "records cannot be written, clients wait")
}

// awaitWatchdog waits until the daemon has fed its watchdog a few more times.
func (r *rig) awaitWatchdog() {
	r.t.Helper()
	fed := func() string { return r.show("tcpmux.service", "WatchdogTimestampMonotonic") }
	for range 4 { // three are one interval
		was := fed()
		r.await("a sign of life", func() bool { return fed() != was })
	}
}

// count returns how many lines of the journal contain text.
func (r *rig) count(text string) int {
	r.t.Helper()
	return strings.Count(r.run("journalctl", "-q", "-u", "tcpmux.service", "-o", "cat"), text)
}

func TestFullDisk(t *testing.T) {
	r := onSmallDisk(t, "256k")
	wait := r.talk(20, 3000)
	r.await("the fault in STATUS=", r.stalled)
	pid := r.mainPID()
	late := r.mustCall()
	if err := late.say(3); err != nil {
		t.Fatal(err)
	}
	r.awaitWatchdog()
	if got := r.mainPID(); got != pid {
		t.Errorf("a full disk: got process %s, want %s still", got, pid)
	}
	r.run("mount", "-o", "remount,size=64m", logDir)
	if err := errors.Join(wait(), late.bye()); err != nil {
		t.Error(err)
	}
	if got := r.show("tcpmux.service", "NRestarts"); got != "0" {
		t.Errorf("restarts: got %s, want 0", got)
	}
	for _, text := range []string{"records cannot be written", "records are written again"} {
		if got := r.count(text); got != 1 {
			t.Errorf("journal: got %q %d times, want once", text, got)
		}
	}
}

// The daemon is killed when half of the last line is on the disk. The next daemon starts once it
// can, and repairs the file first.
func TestKillOnAFullDisk(t *testing.T) {
	r := onSmallDisk(t, "256k")
	r.killed = true
	r.explain("no space left on device", "Failed to start tcpmux")
	var all []*talker
	for range 20 {
		k := r.mustCall()
		all = append(all, k)
		if err := k.say(1000); err != nil { // the kernel has room for this much
			t.Fatal(err)
		}
	}
	r.await("the fault in STATUS=", r.stalled)
	was := r.mainPID()
	r.run("kill", "-KILL", was)
	for _, k := range all {
		k.tear()
	}
	waiting, err := r.dial(port)
	if err == nil {
		err = waiting.say(3)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.await("another attempt", func() bool { return r.show("tcpmux.service", "NRestarts") != "0" })
	r.run("mount", "-o", "remount,size=64m", logDir)
	if err := errors.Join(waiting.greeted(banner), waiting.bye()); err != nil {
		t.Error(err)
	}
}

// The daemon cannot start on a read-only disk. Clients that connect meanwhile wait, and what they
// have sent is recorded later.
func TestReadOnlyDisk(t *testing.T) {
	r := onSmallDisk(t, "64m")
	r.explain("read-only file system", "Failed to start tcpmux")
	r.mustVisit()
	r.run("systemctl", "stop", "tcpmux.service")
	r.run("mount", "-o", "remount,ro", logDir)
	var waiting []*talker
	for range 20 {
		k, err := r.dial(port)
		if err == nil {
			err = k.say(3)
		}
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, k)
	}
	r.await("two attempts", func() bool {
		n, _ := strconv.Atoi(r.show("tcpmux.service", "NRestarts"))
		return n >= 2
	})
	r.run("mount", "-o", "remount,rw", logDir)
	for _, k := range waiting {
		if err := errors.Join(k.greeted(banner), k.bye()); err != nil {
			t.Error(err)
		}
	}
}

func TestDirectoryMovedAwayAndBack(t *testing.T) {
	r := serving(t)
	talking := r.chatters(20)
	r.run("mv", logDir, logDir+".away")
	r.mustVisit()
	r.run("mv", logDir+".away", logDir)
	r.mustVisit()
	if _, err := talking.dismiss(); err != nil {
		t.Error(err)
	}
}

// When its directory is deleted, the daemon stops reading from clients and says so; a restart
// creates the directory again. What was read from clients and could not be written is lost, and the
// log says so.
func TestDirectoryDeleted(t *testing.T) {
	r := installed(t)
	r.explain("records cannot be written, clients wait", "reason=sink .* lost=")
	r.edit(toml, `drain_timeout = "10s"`, `drain_timeout = "1s"`)
	// Otherwise the client would go on in the new file.
	r.edit(toml, `survive = true`, `survive = false`)
	r.run("systemctl", "start", "tcpmux.socket")
	r.mustVisit()
	r.run("rm", "-r", logDir)
	r.forget()
	k := r.mustCall()
	r.await("the fault in STATUS=", func() bool {
		if err := k.say(1); err != nil {
			t.Fatal(err)
		}
		return r.stalled()
	})
	r.run("systemctl", "restart", "tcpmux.service")
	k.tear()
	r.mustVisit()
}
