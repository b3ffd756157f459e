package daemon

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"tcpmux/config"
)

// descriptors is how many the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestClientsLeaveNothingBehind: no descriptor, no goroutine, no place.
func TestClientsLeaveNothingBehind(t *testing.T) {
	d := newDesk(t, nil).open()
	d.leavesNothing(100, func() *client {
		c := d.greeted()
		c.say("hello\nhalf")
		return c
	})
}

// leavesNothing has clients visit at once, again and again, each of whom visit makes; every third breaks the connection off. Nothing of
// them may stay.
func (d *desk) leavesNothing(clients int, visit func() *client) {
	d.t.Helper()
	round := func() {
		var visiting sync.WaitGroup
		for i := range clients {
			visiting.Go(func() {
				c := visit()
				if i%3 == 0 {
					_ = c.SetLinger(0)
				}
				_ = c.Close()
			})
		}
		visiting.Wait()
		d.awaitClients(0)
	}
	round() // what is made once, is made
	fds, goroutines := descriptors(d.t), runtime.NumGoroutine()
	round()
	round()
	eventually(d.t, func() bool { return runtime.NumGoroutine() <= goroutines }, func() {
		d.t.Errorf("goroutines: got %d, want %d", runtime.NumGoroutine(), goroutines)
	})
	eventually(d.t, func() bool { return descriptors(d.t) <= fds }, func() {
		d.t.Errorf("descriptors: got %d, want %d", descriptors(d.t), fds)
	})
	eventually(d.t, func() bool { return d.places() == 0 }, func() { d.t.Errorf("places taken: got %d, want none", d.places()) })
}

// places is how many are taken.
func (d *desk) places() int {
	d.srv.slots.mu.Lock()
	defer d.srv.slots.mu.Unlock()
	return d.srv.slots.taken
}

// TestAnIdleClientHoldsNoWorkspace: also after it has spoken, and in the middle of a message.
func TestAnIdleClientHoldsNoWorkspace(t *testing.T) {
	d := newDesk(t, nil).open()
	for range 2 * maxWorkspaces {
		d.greeted().say("hello\nhalf")
	}
	eventually(t, func() bool { return d.srv.Records() == 2*maxWorkspaces }, func() {
		t.Errorf("records: got %d, want %d", d.srv.Records(), 2*maxWorkspaces)
	})
	free := func() int { return len(d.srv.workspaces.places) }
	eventually(t, func() bool { return free() == maxWorkspaces }, func() {
		t.Errorf("free workspaces: got %d, want all %d", free(), maxWorkspaces)
	})
}

// TestClientBytesAreNeverInTheLog with everything that the daemon says, at level debug.
func TestClientBytesAreNeverInTheLog(t *testing.T) {
	const mark = "SECRET\x1b]0;x\x07"
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].MaxMessage = 16 }).open()
	for _, end := range []func(*client){
		func(c *client) { _ = c.CloseWrite() },
		func(c *client) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		c := d.greeted()
		c.say(mark + "\n\r\n level=ERROR msg=forged " + strings.Repeat(mark, 20) + "\n" + mark)
		end(c)
	}
	d.awaitClients(0)
	eventually(t, func() bool { return strings.Count(d.log.String(), "session closed") == 2 }, func() {
		t.Errorf("log: got %s, want two sessions", d.log)
	})
	for _, never := range []string{"SECRET", "\x1b", "forged"} {
		if strings.Contains(d.log.String(), never) {
			t.Errorf("log: got %q, want no %q in it", d.log, never)
		}
	}
}
