package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tcpmux/internal/await"
)

// asInit is started, for a daemon that is process 1 of a namespace of its own.
func asInit(t *testing.T, top, more string) (d *dialogue, address, dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := tcpmux(t, "run", "--config", settings(t, dir, "127.0.0.1:0", top, more))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		lacks(t, "process namespaces", "run as root")
	}
	d, address = started(t, cmd)
	return d, address, dir
}

// TestProcess1WaitsForOrphans that its clients' programs have left behind, as nobody else does.
func TestProcess1WaitsForOrphans(t *testing.T) {
	// It ends when what it leaves behind is out of its process group, which ends with it.
	d, address, dir := asInit(t, `exec = ["/bin/sh", "-c", "{ setsid sh -c 'echo left; exec sleep 1000 >/dev/null 2>&1 </dev/null' & } | head -n 1"]`, "")
	d.leavesOrphans(address)
	d.upgradesWell() // by another program, as the same process
	d.leavesOrphans(address)
	d.stops(dir)
}

// leavesOrphans has programs leave processes behind, and waits until they are no more once they
// have ended.
func (d *dialogue) leavesOrphans(address string) {
	d.t.Helper()
	for range 3 {
		if _, err := io.Copy(io.Discard, dial(d.t, address)); err != nil {
			d.t.Error(err)
		}
	}
	var orphans []int
	await.Until(d.t, func() bool {
		orphans = slices.DeleteFunc(childrenOf(d.t, d.cmd.Process.Pid), func(pid int) bool { return !sleeps(pid) })
		return len(orphans) == 3
	}, func() { d.t.Errorf("orphans: got %v, want 3", orphans) })
	for _, pid := range orphans {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			d.t.Error(err)
		}
	}
	for _, pid := range orphans {
		await.Until(d.t, func() bool { return len(stat(pid)) == 0 }, func() { d.t.Errorf("process %d: got %q, want none", pid, stat(pid)) })
	}
}

// sleeps reports whether a process is a sleep(1).
func sleeps(pid int) bool {
	words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.HasPrefix(string(words), "sleep\x00")
}

// TestProcess1KnowsHowItsProgramsEnd, however many orphans end at the same time, and though threads
// end that have served clients.
func TestProcess1KnowsHowItsProgramsEnd(t *testing.T) {
	const visitors, visits = 4, 15
	d, threads, dir := asInit(t, `model = "thread"`, `[[listener]]
name = "programs"
address = "127.0.0.1:0"
exec = ["/bin/sh", "-c", "setsid true </dev/null >/dev/null 2>&1 & setsid true </dev/null >/dev/null 2>&1 & exit 7"]
model = "goroutine"
banner = ""
record = false
`)
	_, rest, _ := strings.Cut(d.seen, " listener=programs")
	address := addressIn(rest)
	var visiting sync.WaitGroup
	for range visitors {
		visiting.Go(func() {
			for range visits {
				_ = greeted(t, threads).Close()
				if _, err := io.Copy(io.Discard, dial(t, address)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	visiting.Wait()
	records := d.stops(dir)
	if got, want := strings.Count(records, ": exit 7, "), visitors*visits; got != want {
		t.Errorf("got %d programs that ended by exit 7, want %d: %q", got, want, tail(records))
	}
}
