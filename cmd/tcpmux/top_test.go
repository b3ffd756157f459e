package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/daemon/control/api"
	"tcpmux/internal/await"
)

// What top writes to take a terminal over, and to give it back.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[0m\x1b[?25h\x1b[?1049l"
)

// controlled is a daemon with one session, played by the test.
type controlled struct {
	path    string
	changes chan string // requests that change something
	leaves  atomic.Bool // it answers 503
}

func control(t *testing.T) *controlled {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpmux") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &controlled{path: filepath.Join(dir, "control"), changes: make(chan string, 10)}
	session := api.Session{ID: "8f3a-2c", Listener: "tcpmux", Remote: "192.0.2.7:40312", Phase: "serving", State: "client", Opened: time.Now()}
	answers := map[string]any{
		"/v1/status":           api.Status{Version: "1.2.3", Now: time.Now(), Started: time.Now(), Phase: "serving", Clients: 1, Listeners: []api.Listener{{Name: "tcpmux"}}},
		"/v1/sessions":         api.Sessions{Sessions: []api.Session{session}, Total: 1},
		"/v1/sessions/8f3a-2c": api.Detail{Session: session, Local: "10.0.0.9:12345"},
	}
	ln, err := net.Listen("unix", d.path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[r.URL.Path]
		if d.leaves.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			answer = api.Error{Error: "the daemon leaves"}
		}
		if r.Method != http.MethodGet {
			d.changes <- r.Method + " " + r.URL.Path
			answer = api.Killed{Killed: 1}
		}
		_ = json.NewEncoder(w).Encode(answer) // an error is one of the connection
	})}
	go func() { _ = srv.Serve(ln) }() // it ends when it is closed
	t.Cleanup(func() { _ = srv.Close() })
	return d
}

// topAt starts top at a terminal of its own.
func topAt(t *testing.T, path string) *clitest.Terminal {
	t.Helper()
	cmd := tcpmux(t, "top", "--control", path, "--interval", "100ms")
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	x := clitest.Start(t, cmd)
	x.See(enterScreen)
	x.See("8f3a-2c tcpmux   192.0.2.7:40312")
	return x
}

// TestTopLeavesTheTerminalAsItWas, however it ends.
func TestTopLeavesTheTerminalAsItWas(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(x *clitest.Terminal)
		status int
	}{
		{"q", func(x *clitest.Terminal) { x.Key("q") }, 0},
		{"Ctrl-C", func(x *clitest.Terminal) { x.Key("\x03") }, 130},
		{"Ctrl-C in a question", func(x *clitest.Terminal) { x.Key("jK"); x.See("Kill 8f3a-2c"); x.Key("\x03") }, 130},
		{"SIGTERM", func(x *clitest.Terminal) { _ = x.Cmd.Process.Signal(syscall.SIGTERM) }, 143},
		{"SIGHUP", func(x *clitest.Terminal) { _ = x.Cmd.Process.Signal(syscall.SIGHUP) }, 129},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := topAt(t, control(t).path)
			if x.Settings() == x.Before {
				t.Error("the terminal is not in raw mode")
			}
			c.end(x)
			x.See(leaveScreen)
			x.Ends(c.status)
		})
	}
}

func TestTopIsStoppedAndGoesOn(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(x *clitest.Terminal)
	}{
		{"Ctrl-Z", func(x *clitest.Terminal) { x.Key("\x1a") }},
		{"SIGTSTP", func(x *clitest.Terminal) { _ = x.Cmd.Process.Signal(syscall.SIGTSTP) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := topAt(t, control(t).path)
			for range 2 {
				c.stop(x)
				x.See(leaveScreen)
				await.Until(t, func() bool { return stopped(t, x.Cmd.Process.Pid) }, func() { t.Error("got a process that runs, want it stopped") })
				if got := x.Settings(); got != x.Before {
					t.Errorf("while it is stopped, got %+v, want %+v", got, x.Before)
				}
				_ = x.Cmd.Process.Signal(syscall.SIGCONT)
				x.See(enterScreen)
				x.See("8f3a-2c tcpmux")
			}
			x.Key("q")
			x.See(leaveScreen)
			x.Ends(0)
		})
	}
}

// stopped reports whether a signal has stopped the process (proc_pid_stat(5)).
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

func TestTopShowsAndKills(t *testing.T) {
	d := control(t)
	x := topAt(t, d.path)
	x.Key("j\r")
	x.See("10.0.0.9:12345")
	x.Key("\x1b")
	x.See("> 8f3a-2c")
	x.Key("Kn")
	x.See("not killed")
	x.Key("K")
	x.See("Kill 8f3a-2c (192.0.2.7:40312)?")
	x.Key("y")
	x.See("killed 1 session (8f3a-2c)")
	if got := <-d.changes; got != "DELETE /v1/sessions/8f3a-2c" || len(d.changes) > 0 {
		t.Errorf("got %s and %d more, want one to delete the session", got, len(d.changes))
	}
	x.Key("q")
	x.Ends(0)
}

func TestTopFollowsTheSizeOfTheTerminal(t *testing.T) {
	x := topAt(t, control(t).path)
	x.Resize(20, 5)
	x.See("\x1b[5;1H\x1b[2K\x1b[7mh: help  s: sort  /~")
	x.Key("q")
	x.Ends(0)
}

func TestTopWaitsForTheDaemon(t *testing.T) {
	d := control(t)
	x := topAt(t, d.path)
	d.leaves.Store(true)
	x.See("NO ANSWER: the daemon leaves")
	d.leaves.Store(false)
	x.See("All is well.")
	x.Key("q")
	x.Ends(0)
}

// TestColoursAtATerminal: there are some, but not for those who do not want them or whose terminal
// has none.
func TestColoursAtATerminal(t *testing.T) {
	path := control(t).path
	for _, c := range []struct {
		env      string
		coloured bool
	}{{"TERM=xterm", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		cmd := tcpmux(t, "status", "--control", path)
		cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=", c.env)
		x := clitest.Start(t, cmd)
		seen := x.See("tcpmux 1.2.3, ") + x.See("serving\r\n")
		if got := strings.Contains(seen, "\x1b["); got != c.coloured {
			t.Errorf("%s: got %q, want colours %v", c.env, seen, c.coloured)
		}
		x.Ends(0)
	}
}
