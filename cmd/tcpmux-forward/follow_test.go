package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/observe"
	"tcpmux/config"
	"tcpmux/internal/await"
)

// manager hears what a service tells the service manager.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &manager{t, conn}
}

// hears waits until it is told want, and fails if it is told one of not before.
func (m *manager) hears(want string, not ...string) {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(clitest.Patience)) // it fails for no socket that is open
	for buf := make([]byte, 4096); ; {
		n, err := m.conn.Read(buf)
		if err != nil {
			m.t.Fatalf("got %v, want %q", err, want)
		}
		for line := range strings.SplitSeq(string(buf[:n]), "\n") {
			for _, prefix := range not {
				if strings.HasPrefix(line, prefix) {
					m.t.Errorf("got %q before %q", line, want)
				}
			}
			if strings.HasPrefix(line, want) {
				return
			}
		}
	}
}

// output is what a process writes, which a test reads meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// has waits for a text.
func (o *output) has(t *testing.T, text string) {
	t.Helper()
	await.Until(t, func() bool { return strings.Contains(o.String(), text) }, func() { t.Errorf("got %q, want %q in it", o.String(), text) })
}

// started starts a program, whose standard error it returns.
func started(t *testing.T, cmd *exec.Cmd) *output {
	t.Helper()
	o := new(output)
	cmd.Stderr = o
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it may have ended
			_ = cmd.Wait()         // that it was killed
		}
	})
	return o
}

// ends waits for the end of a program.
func ends(t *testing.T, cmd *exec.Cmd, status int) {
	t.Helper()
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("status: got %d, want %d", got, status)
	}
}

func signalled(t *testing.T, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// TestService runs the service through an outage, reloads and its end.
func TestService(t *testing.T) {
	path, state := written(t, "")
	base, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	configure := func(forward string) {
		if err := os.WriteFile(path, fmt.Appendf(nil, "%s%s\n", base, forward), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	servers, address := fmt.Sprintf("servers = [\"nats://%s\"]\n", clitest.Refused(t)), clitest.Refused(t)
	configure(servers)
	m, cmd := newManager(t), program(t, "--config", path)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.conn.LocalAddr().String())
	log := started(t, cmd)
	m.hears("READY=1")
	log.has(t, "records cannot be delivered")
	s, err := observe.Ask(t.Context(), filepath.Join(state, "control"))
	if err != nil || s.State != api.Connecting || s.Error == "" || s.Version != clitest.Version {
		t.Errorf("got %+v (%v), want an outage", s, err)
	}
	status, _, stderr := clitest.Outcome(t, program(t, "--config", path))
	if status != 1 || !strings.Contains(stderr, "another tcpmux-forward uses it") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("a second one: got status %d and %q, want 1 and one line about the first", status, stderr)
	}

	reload := func(forward, said string) {
		t.Helper()
		configure(forward)
		signalled(t, cmd, syscall.SIGHUP)
		m.hears("RELOADING=1", "READY=1")
		m.hears("READY=1")
		log.has(t, said)
	}
	reload(servers+"stream = \"a.b\"\nmax_in_flight = 0", "configuration not reloaded")
	log.has(t, "forward.stream")
	log.has(t, "forward.max_in_flight")
	reload("", "it names no servers under [forward]")
	if status, _, stderr := clitest.Outcome(t, program(t, "status", "--config", path)); status != 78 || !strings.Contains(stderr, "names no servers") {
		t.Errorf("status without servers: got status %d and %q, want 78, with which systemctl reload fails", status, stderr)
	}
	reload(servers+fmt.Sprintf("address = [%q]", address), `msg="configuration reloaded"`)
	resp, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("not ready: got %d, want 503", resp.StatusCode)
	}

	signalled(t, cmd, syscall.SIGTERM)
	m.hears("STOPPING=1")
	ends(t, cmd, 0)
	if _, err := os.Lstat(filepath.Join(state, "control")); !os.IsNotExist(err) {
		t.Errorf("control socket after the end: got error %v, want none", err)
	}
	status, stdout, stderr := clitest.Outcome(t, program(t, "status", "--config", path))
	if status != 1 || !strings.Contains(stdout, "not running") || !strings.Contains(stderr, "start it with systemctl start tcpmux-forward") {
		t.Errorf("status after the end: got %d, %q and %q", status, stdout, stderr)
	}
}

// TestAHungFileSystemDelaysNoReload: what the service manager is told needs the files, and signals
// do not.
func TestAHungFileSystemDelaysNoReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		hung, asked := make(chan struct{}), 0
		s := &service{
			load:     func() (config.Config, error) { return config.Config{}, errors.New("a reload has come") },
			status:   func() api.Status { asked++; <-hung; return api.Status{} },
			reloads:  make(chan os.Signal, 1),
			finished: make(chan error, 1),
		}
		var err error
		if s.log, err = openLog("info", &log); err != nil {
			t.Fatal(err)
		}
		over := make(chan error)
		go func() { over <- s.attend(t.Context()) }()
		time.Sleep(3 * statusEvery)
		s.reloads <- syscall.SIGHUP
		synctest.Wait()
		if !strings.Contains(log.String(), "a reload has come") || asked != 1 {
			t.Errorf("got log %q, and the status was asked for %d times, want the reload, and one", log.String(), asked)
		}
		close(hung)
		time.Sleep(2 * statusEvery)
		synctest.Wait()
		if asked < 2 {
			t.Error("got no other look at the status, want one when the file system goes on")
		}
		s.finished <- nil
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// TestOnceCanBeInterrupted while it waits for a server: it says what is left.
func TestOnceCanBeInterrupted(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		status int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		t.Run(c.signal.String(), func(t *testing.T) {
			path, _ := written(t, fmt.Sprintf("servers = [\"nats://%s\"]", clitest.Refused(t)))
			cmd := program(t, "--once", "--config", path)
			log := started(t, cmd)
			log.has(t, "records cannot be delivered")
			signalled(t, cmd, c.signal)
			ends(t, cmd, c.status)
			log.has(t, "tcpmux-forward: interrupted: 0 records, 0 bytes delivered to TCPMUX, lag 0; run it again to deliver the rest\n")
		})
	}
}
