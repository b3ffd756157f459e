package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/worker"
)

// byProcess is a change by which processes serve the first listener's clients.
func byProcess(c *config.Config) { c.Listeners[0].Model = "process" }

// processes returns the session processes of the servers in the test; they are in tests that begin
// and end without one.
func processes(t *testing.T) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		children, _ := os.ReadFile(list) // the thread may have ended
		for pid := range strings.FieldsSeq(string(children)) {
			// The process may have ended.
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			if n, err := strconv.Atoi(pid); err == nil && bytes.HasPrefix(line, []byte(worker.ProcessName)) {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// onlyProcess returns the one process that there is.
func onlyProcess(t *testing.T) int {
	t.Helper()
	pids := processes(t)
	if len(pids) != 1 {
		t.Fatalf("session processes: got %d, want 1", pids)
	}
	return pids[0]
}

// kill sends a signal to a process.
func kill(t *testing.T, pid int, s unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// awaitReaped waits until the process is there no longer.
func awaitReaped(t *testing.T, pid int) {
	t.Helper()
	servertest.Eventually(t, func() bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }, func() {
		t.Errorf("process %d is not reaped", pid)
	})
}

// visit is greeted, says a line and leaves; it returns the process that has served it, the only
// one.
func visit(f *servertest.Fixture, line string) (pid int) {
	f.T.Helper()
	c := f.Greeted()
	pid = onlyProcess(f.T)
	c.Say(line + "\n")
	_ = c.Close()
	f.AwaitClients(0)
	f.AwaitRecords(": " + line + "\n")
	return pid
}

func TestAProcessDiesAlone(t *testing.T) {
	f := servertest.New(t, func(c *config.Config) { byProcess(c); c.Listeners[0].Framing = "octet-counted" }).Open()
	first := f.Greeted()
	first.Say("6 before")
	f.AwaitRecords(": before\n")
	victim := onlyProcess(t)
	second := f.Greeted()
	kill(t, victim, unix.SIGKILL)
	first.HearEnd()
	f.AwaitRecords(": process, 1 records, 8 bytes\n")
	second.Say("5 after")
	f.AwaitRecords(": after\n")
	awaitReaped(t, victim)
}

// TestAProcessThatStandsStillIsKilled when the time to finish is over, and does not keep the daemon
// waiting. It makes no difference whether the next daemon could go on with its client.
func TestAProcessThatStandsStillIsKilled(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*server.Server, context.Context) error
		want string // error
	}{
		{"at a shutdown", (*server.Server).Shutdown, "1 client did not finish in time: closed"},
		{"when its client leaves", (*server.Server).Leave, "<nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, byProcess)
			f.Server.SetKeeper(keeper{})
			client := f.Open().Greeted()
			pid := onlyProcess(t)
			kill(t, pid, unix.SIGSTOP)
			// kill(2) returns before the process has stopped: until then it may end its
			// session well.
			servertest.Eventually(t, func() bool { return stopped(pid) }, func() {
				t.Errorf("process %d does not stop", pid)
			})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.end(f.Server, ctx) }()
			servertest.Eventually(t, f.Server.Draining, func() { t.Error("the server does not drain") })
			cancel()
			if got := fmt.Sprint(servertest.Result(t, ended)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			f.Log.Await(t, "session process did not end in time and was killed")
			f.AwaitRecords("close from " + client.Addr() + ": drain, 0 records, 0 bytes\n")
			awaitReaped(t, pid)
		})
	}
}

// keeper keeps every client, so that all of them leave.
type keeper struct{}

func (keeper) Keep(int, uint64, time.Time, uint32) (*state.Slot, session.Keep) { return nil, keeper{} }
func (keeper) EnlistAll() error                                                { return nil }
func (keeper) Seal() error                                                     { return nil }
func (keeper) Survives() bool                                                  { return true }
func (keeper) Retire() (held bool)                                             { return false }

// TestTheServersEndDoesNotWaitForAProcess that cannot be started. A client that leaves is not
// closed: the next daemon can try.
func TestTheServersEndDoesNotWaitForAProcess(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(*server.Server, context.Context) error
		want   string // error
		closes int    // how many records tell of the session's end
	}{
		{"at a shutdown", (*server.Server).Shutdown, "1 client did not finish in time: closed", 1},
		{"when its client leaves", (*server.Server).Leave, "<nil>", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, byProcess)
			f.Server.SetKeeper(keeper{})
			f.Binding().Settings().Service = worker.PoolWithoutProcesses(f.Logger).Service
			client := f.Open().Client()
			f.Log.Await(t, "session processes cannot be started, their clients wait")
			ended := make(chan error, 1)
			go func() { ended <- c.end(f.Server, servertest.Done()) }()
			if got := fmt.Sprint(servertest.Result(t, ended)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			closed := "close from " + client.Addr() + ": process, 0 records, 0 bytes\n"
			if n := strings.Count(f.Out.String(), closed); n != c.closes {
				t.Errorf("records: got %q, want %d of the session's end", f.Out, c.closes)
			}
		})
	}
}

// stopped reports whether all threads of a process are stopped.
func stopped(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(stat, []byte(") T ")) {
			return false
		}
	}
	return len(stats) > 0
}

// TestAProcessLeavesSignalsToTheDaemon: systemctl kill, or a terminal, sends them to every process
// of the service.
func TestAProcessLeavesSignalsToTheDaemon(t *testing.T) {
	f := servertest.New(t, byProcess).Open()
	c := f.Greeted()
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
		kill(t, onlyProcess(t), s)
		c.Say(s.String() + "\n")
		f.AwaitRecords(": " + s.String() + "\n")
	}
}

// TestAProcessIsConfined holds that a client's process is under a filter of system calls and can
// gain no privilege.
func TestAProcessIsConfined(t *testing.T) {
	f := servertest.New(t, byProcess).Open()
	f.Greeted()
	pid := onlyProcess(t)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	filter := "Seccomp:\t2\n"
	if !worker.Filtered() {
		filter = "Seccomp:\t0\n"
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", filter} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("/proc/%d/status lacks %q:\n%s", pid, want, status)
		}
	}
}

func TestAProcessServesOneAfterAnother(t *testing.T) {
	f := servertest.New(t, func(c *config.Config) { byProcess(c); c.Listeners[0].ClientsPerProcess = 2 }).Open()
	first, second, third := visit(f, "one"), visit(f, "two"), visit(f, "three")
	if first != second || third == first {
		t.Errorf("served by processes %d, %d and %d, want the first two to be one and the third another",
			first, second, third)
	}
	if err := unix.Kill(first, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d, which has served its clients: got %v, want it reaped", first, err)
	}
}

func TestNoProcessServesTwoAtOnce(t *testing.T) {
	f := servertest.New(t, byProcess).Open()
	visit(f, "before")
	for range 5 {
		f.Greeted()
	}
	if got := processes(t); len(got) != 5 {
		t.Errorf("5 clients are served by processes %d, want 5", got)
	}
}

func TestAProcessThatDiesAtRestHarmsNobody(t *testing.T) {
	f := servertest.New(t, byProcess).Open()
	victim := visit(f, "one")
	kill(t, victim, unix.SIGKILL)
	servertest.Eventually(t, func() bool { return zombie(victim) }, func() { t.Errorf("process %d does not die", victim) })
	if next := visit(f, "two"); next == victim {
		t.Errorf("served by process %d, which is dead", next)
	}
	awaitReaped(t, victim)
}

// zombie reports whether a process has died, with all its threads, and waits to be reaped.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	threads, terr := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z ")) && terr == nil && len(threads) == 1
}

func TestRestingProcessesEndWithTheServer(t *testing.T) {
	f := servertest.New(t, byProcess).Open()
	pid := visit(f, "one")
	f.Close()
	awaitReaped(t, pid)
}

// TestAProcessHasItsMemory: what a process may map is bounded, and the longest message fits.
func TestAProcessHasItsMemory(t *testing.T) {
	f := servertest.New(t, func(c *config.Config) { byProcess(c); c.Listeners[0].MaxMessage = 16 << 20 }).Open()
	c := f.Greeted()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", onlyProcess(t)))
	want := fmt.Sprintf("Max data size             %d ", worker.MaxMemory)
	if err != nil || !bytes.Contains(limits, []byte(want)) {
		t.Errorf("limits: got %s, %v, want %q", limits, err, want)
	}
	long := strings.Repeat("long ", 16<<20/5)
	for range 3 {
		c.Say(long + "\n")
	}
	_ = c.Close()
	f.AwaitClients(0)
	if n := strings.Count(f.Out.String(), ": "+long+"\n"); n != 3 {
		t.Errorf("recorded %d times, want 3; log: %s", n, f.Log)
	}
}

func (keeper) Secure() tlsconn.Memory { return nil }

func (keeper) Track() conn.Memory { return nil }

func (keeper) Forsake() {}

// Join implements session.Keep.
func (keeper) Join(conn.Conn) session.Joint { return nil }
