package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"
)

// busyDaemon is a daemon whose program can be replaced, and clients that talk to it all the time.
type busyDaemon struct {
	t       *testing.T
	d       *dialogue
	dir     string // of its records
	path    string // of its program
	address string
	over    chan struct{}
	talking sync.WaitGroup
	said    []atomic.Int64 // lines of each client
}

// withClients starts a daemon, with lines on top of the usual configuration, and connects clients.
func withClients(t *testing.T, clients int, top string, env ...string) *busyDaemon {
	t.Helper()
	k := &busyDaemon{t: t, dir: t.TempDir(), path: installed(t), over: make(chan struct{}), said: make([]atomic.Int64, clients)}
	cmd := tcpmux(t, "run", "--config", settings(t, k.dir, "127.0.0.1:0", top, "format = \"json\"\nmax_size = \"1GiB\""))
	cmd.Path, cmd.Env = k.path, append(os.Environ(), env...)
	k.d, k.address = started(t, cmd)
	for i := range clients {
		conn := greeted(t, k.address)
		_ = conn.SetDeadline(time.Now().Add(patience))
		k.talking.Go(func() { k.talk(conn, i) })
	}
	return k
}

// talk sends numbered lines until the end of the test. It must receive nothing but the end of the
// stream, after it has ended its own.
func (k *busyDaemon) talk(conn *net.TCPConn, i int) {
	for k.goesOn() {
		if _, err := fmt.Fprintf(conn, "client %d line %d\n", i, k.said[i].Load()); err != nil {
			k.t.Errorf("client %d: %v", i, err)
			return
		}
		k.said[i].Add(1)
		time.Sleep(time.Millisecond) // the pace of a client
	}
	_ = conn.CloseWrite()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		k.t.Errorf("client %d: got %q, %v, want the end of the stream", i, rest, err)
	}
}

func (k *busyDaemon) goesOn() bool {
	select {
	case <-k.over:
		return false
	default:
		return true
	}
}

// candidate installs a shell script in place of the program; it passes every check, and REAL is a
// good program.
func (k *busyDaemon) candidate(script string) {
	k.t.Helper()
	script = fmt.Sprintf("#!/bin/sh\nREAL=%q\n[ \"$1\" = check ] && exec \"$REAL\" \"$@\"\necho $$ >%q\n%s\n", built, k.pidFile(), script)
	replace(k.t, k.path, []byte(script))
}

// pidFile has the process of a candidate.
func (k *busyDaemon) pidFile() string { return k.path + ".pid" }

func (k *busyDaemon) signal(s syscall.Signal) {
	k.t.Helper()
	if err := k.d.cmd.Process.Signal(s); err != nil {
		k.t.Fatal(err)
	}
}

// upgrade asks for one and returns when the daemon has said text since.
func (k *busyDaemon) upgrade(text string) {
	k.t.Helper()
	k.d.seen = ""
	k.signal(syscall.SIGUSR2)
	k.d.hear(text)
}

// upgradesWell installs a good program, which takes over.
func (k *busyDaemon) upgradesWell() {
	k.t.Helper()
	replace(k.t, k.path, read(k.t, built))
	k.d.upgradesWell()
	k.serves()
}

// trial is the process that is tried, once there is one.
func (k *busyDaemon) trial() (pid int) {
	k.t.Helper()
	await.Until(k.t, func() bool {
		text, _ := os.ReadFile(k.pidFile())
		pid, _ = strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
		return pid > 0 && strings.HasSuffix(string(text), "\n")
	}, func() { k.t.Error("there is no trial") })
	return pid
}

// serves waits until each client has a line recorded that it has yet to say, by the daemon that is
// known by its process.
func (k *busyDaemon) serves() {
	k.t.Helper()
	for i := range k.said {
		recorded(k.t, k.dir, fmt.Sprintf("client %d line %d\"", i, k.said[i].Load()+1))
	}
	holder := strings.TrimSpace(string(read(k.t, filepath.Join(k.dir, ".records.log.lock"))))
	if want := strconv.Itoa(k.d.cmd.Process.Pid); holder != want {
		k.t.Errorf("the records are written by process %s, want %s", holder, want)
	}
}

// closes has all end, and proves that every line was recorded, and none twice.
func (k *busyDaemon) closes() {
	k.t.Helper()
	close(k.over)
	k.talking.Wait()
	k.d.stops(k.dir)
	k.whole()
}

func (k *busyDaemon) whole() {
	k.t.Helper()
	var lines int64
	for i := range k.said {
		lines += k.said[i].Load()
	}
	_, got, _ := clitest.Outcome(k.t, tcpmux(k.t, "verify", "--json", filepath.Join(k.dir, "records.log")))
	for _, want := range []string{`"whole":true`, `"proven":true`, `"repeated":0,`, fmt.Sprintf(`"sessions":%d,`, len(k.said)), fmt.Sprintf(`"messages":%d,`, lines)} {
		if !strings.Contains(got, want) {
			k.t.Errorf("records: got %s, want %s in it", got, want)
		}
	}
}

// TestAnUpgradeUnderLoadKeepsAll: clients that talk notice nothing, in any model.
func TestAnUpgradeUnderLoadKeepsAll(t *testing.T) {
	for _, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			k := withClients(t, 20, `model = "`+model+`"`)
			for range 3 {
				k.upgradesWell()
			}
			k.closes()
		})
	}
}

// saysReady is a program that says so and does nothing. What it does then follows, and a quote.
const saysReady = `exec python3 -c 'import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("\0" + os.environ["NOTIFY_SOCKET"][1:])
s.send(b"READY=1")
`

// TestAProgramThatFailsItsTrialChangesNothing: clients lose no line, and the next upgrade finds the
// program that is there by then.
func TestAProgramThatFailsItsTrialChangesNothing(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"it exits", "exit 3", "exit 3"},
		{"it crashes", "kill -SEGV $$", "signal 11"},
		{"it hangs", "exec sleep 1000", "not ready within 10s"},
		{"it serves, and is not ready in time", `NOTIFY_SOCKET=/nowhere exec "$REAL" "$@"`, "not ready within 10s"},
		{"it serves, and does not leave", `trap "" INT; exec "$REAL" "$@"`, "did not leave its clients in order: signal 9"},
		{"it is ready, and dies", saysReady + "sys.exit(5)'", "exit 5"},
		{"it is ready, and dies of having to leave", saysReady + "time.sleep(1000)'", "did not leave its clients in order: "},
		{"it is gone by then", `rm -- "$0"; exec "$REAL" "$@"`, "another one was installed meanwhile"},
		{"it is replaced by then", `cp -- "$0" "$0.new"; mv -- "$0.new" "$0"; exec "$REAL" "$@"`, "another one was installed meanwhile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := withClients(t, 5, `drain_timeout = "0s"`)
			k.candidate(c.script)
			k.upgrade(`level=ERROR msg="not upgraded"`)
			k.d.hear(c.want)
			k.d.hear("msg=ready ")
			k.serves()
			k.upgradesWell()
			k.closes()
		})
	}
}

// TestAProgramThatDiesInItsTrialLosesNobody, nor a line, in every model, though it had the clients
// by then.
func TestAProgramThatDiesInItsTrialLosesNobody(t *testing.T) {
	for _, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			k := withClients(t, 20, `model = "`+model+`"`)
			k.candidate(`NOTIFY_SOCKET=/nowhere exec "$REAL" "$@"`)
			for range 3 {
				k.upgrade("inherited=true")
				k.d.hear("msg=ready ")
				pid := k.trial()
				recorded(t, k.dir, fmt.Sprintf("client 0 line %d\"", k.said[0].Load()+1))
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				k.d.hear("it ended before it was ready: signal 9")
				k.d.hear("inherited=false")
				if err := os.Remove(k.pidFile()); err != nil {
					t.Fatal(err)
				}
				k.serves()
			}
			k.closes()
		})
	}
}

// TestATrialIsNotUpgraded: a signal to all processes of the name is for the daemon alone. The trial
// would have the clients, and nobody to leave them to.
func TestATrialIsNotUpgraded(t *testing.T) {
	k := withClients(t, 5, "")
	k.candidate(`NOTIFY_SOCKET=/nowhere exec "$REAL" "$@"`)
	k.upgrade("inherited=true")
	k.d.hear("msg=ready ")
	pid := k.trial()
	k.d.seen = ""
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	k.d.hear("it is a trial")
	recorded(t, k.dir, fmt.Sprintf("client 0 line %d\"", k.said[0].Load()+1))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	k.d.hear("it ended before it was ready: signal 9")
	k.serves()
	k.upgradesWell()
	k.closes()
}

// TestADaemonThatCannotGoOnTriesAgain: what keeps it from its records passes.
func TestADaemonThatCannotGoOnTriesAgain(t *testing.T) {
	k := withClients(t, 5, "")
	away := k.dir + ".away"
	k.candidate(fmt.Sprintf("mv -- %q %q; exit 3", k.dir, away))
	k.upgrade("clients wait: ")
	if err := os.Rename(away, k.dir); err != nil {
		t.Fatal(err)
	}
	k.d.hear(`level=ERROR msg="not upgraded"`)
	k.serves()
	k.closes()
}

// TestAStopInTheMiddleOfATrialIsObeyed: the trial is over, and clients are let finish.
func TestAStopInTheMiddleOfATrialIsObeyed(t *testing.T) {
	k := withClients(t, 5, "")
	k.candidate("exec sleep 1000")
	k.upgrade("left clients to the next process")
	pid := k.trial()
	k.signal(syscall.SIGTERM)
	k.d.hear("msg=\"not upgraded\" err=terminated") // and not that its time was over
	k.d.hear("msg=draining clients=5 ")
	close(k.over)
	k.talking.Wait()
	if status := k.d.ends(); status != 0 || !strings.Contains(k.d.seen, "msg=drained") {
		t.Errorf("got status %d and %q, want 0 and all drained", status, k.d.seen)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("the trial: got %v, want it gone", err)
	}
	k.whole()
}

// TestATrialDiesWithTheDaemon, or two would go on.
func TestATrialDiesWithTheDaemon(t *testing.T) {
	k := withClients(t, 0, "")
	k.candidate(`NOTIFY_SOCKET=/nowhere exec "$REAL" "$@"`)
	k.upgrade("inherited=true")
	pid := k.trial()
	k.signal(syscall.SIGKILL)
	await.Until(t, func() bool { return !alive(pid) }, func() { t.Error("the trial goes on") })
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

// TestAnUpgradeInTheBackground, of a daemon that its shell has ignore SIGINT: by that a trial is
// told to leave.
func TestAnUpgradeInTheBackground(t *testing.T) {
	k := &busyDaemon{t: t, dir: t.TempDir(), path: installed(t), over: make(chan struct{})}
	config := settings(t, k.dir, "127.0.0.1:0", "", "format = \"json\"")
	k.d, k.address = started(t, exec.CommandContext(t.Context(), "sh", "-c", `trap "" INT; exec "$0" "$@"`, k.path, "run", "--config", config))
	k.upgradesWell()
	k.closes()
}

// TestAServiceManagerTakesAnUpgradeForAReload, and the watchdog for one that is alive, as long as a
// trial may last.
func TestAServiceManagerTakesAnUpgradeForAReload(t *testing.T) {
	m := newManager(t)
	k := withClients(t, 1, "", m.env()...)
	k.d.unstored = true
	k.candidate("exec sleep 1000")
	k.upgrade("left clients to the next process")
	m.hears("RELOADING=1", 1)
	pid := k.trial()
	m.more("WATCHDOG=1", 5)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	k.d.hear("not upgraded")
	m.hears("READY=1", 2)
	k.upgradesWell()
	m.hears("READY=1", 3)
	m.hears("RELOADING=1", 2)
	if n := m.count("STOPPING=1"); n != 0 {
		t.Errorf("told STOPPING=1 %d times, want never: a service manager would end it", n)
	}
	k.serves()
	k.closes()
}
