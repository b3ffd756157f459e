package program_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// running has each client served by a program, without a record of what the client sends.
func running(args ...string) func(*config.Config) {
	return func(c *config.Config) {
		ln := &c.Listeners[0]
		ln.Exec, ln.Banner, ln.Record = args, config.Bytes{}, false
	}
}

// shell has each client served by a script.
func shell(script string) func(*config.Config) { return running("/bin/sh", "-c", script) }

// and makes one change after another; nil changes nothing.
func and(changes ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		for _, change := range changes {
			if change != nil {
				change(c)
			}
		}
	}
}

// limited has programs start by way of the starter.
func limited(c *config.Config) { c.Listeners[0].ExecMemory = 1 << 30 }

// eachStart runs a test for programs that the daemon starts itself, and for those that the starter
// becomes.
func eachStart(t *testing.T, test func(t *testing.T, change func(*config.Config))) {
	t.Run("direct", func(t *testing.T) { test(t, nil) })
	t.Run("by the starter", func(t *testing.T) { test(t, limited) })
}

// awaitClose waits until a client's session is closed for a reason.
func awaitClose(f *servertest.Fixture, c *servertest.Client, reason string) {
	f.T.Helper()
	f.AwaitRecords("close from " + c.Addr() + ": " + reason + ", ")
}

// awaitGone waits until a process has ended.
func awaitGone(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil || n < 2 {
		t.Fatalf("got pid %q, want a number", pid)
	}
	servertest.Eventually(t, func() bool { return errors.Is(unix.Kill(n, 0), unix.ESRCH) || isZombie(n) },
		func() { t.Errorf("process %d is alive", n) })
}

// isZombie reports whether a process has ended and nobody has reaped it yet: in a container, the
// first process may never do so.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// Behind the name, which may contain anything.
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z")
}

// closeOnExec does what the daemon does when it starts: descriptors that were left open for it are
// kept from programs.
func closeOnExec(t *testing.T) {
	t.Helper()
	if err := unix.CloseRange(3, 1<<20, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

// leavesNothing fails the test if anything of a program stays after clients have visited: a
// process, or what servertest looks for. The server admits no more clients than visit at once, so
// that a place which stays would cost a later one its service.
func leavesNothing(t *testing.T, change func(*config.Config)) {
	const clients = 100
	f := servertest.New(t, and(running("/bin/cat"), change, func(c *config.Config) { c.Limits.Clients = clients })).Open()
	f.LeavesNothing(clients, func() *servertest.Client {
		c := f.Client()
		c.Say("hello\n")
		c.Hear("hello\n")
		return c
	})
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		if children, err := os.ReadFile(list); err == nil && len(children) > 0 {
			t.Errorf("got processes %s, want none", children)
		}
	}
}
