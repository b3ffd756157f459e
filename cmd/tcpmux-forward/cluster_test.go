package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"
)

const clusterScript = "../../contrib/forward/cluster"

// TestClusterScriptTriesAFailover starts the three servers of contrib/forward/cluster, has it kill
// the one that leads a stream, and ends it as Ctrl-C does.
func TestClusterScriptTriesAFailover(t *testing.T) {
	server, err := filepath.Abs("../../build/tools/nats-server")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(server); err != nil {
		t.Fatalf("%v: \"make nats\" builds it", err)
	}
	dir := filepath.Join(t.TempDir(), "cluster")
	cmd := clitest.Program(t, clusterScript, "run", "--dir", dir, "--server", server, "--restart-after", "99999")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The script ends its servers when it is asked to, and is not killed.
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	servers := said(t, lines, "servers = [")
	said(t, lines, "Ctrl-C")
	pids := pidsOf(t, dir)

	urls := strings.NewReplacer(`"`, "", " ", "").Replace(strings.TrimSuffix(servers, "]"))
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, func() bool {
		_, err := js.AddStream(&nats.StreamConfig{Name: "TCPMUX", Subjects: []string{"tcpmux.>"}, Replicas: 3})
		return err == nil
	}, func() { t.Error("the cluster makes no stream") })
	store(t, js)
	leader := clusterTells(t, "leader", dir)
	if got, want := clusterTells(t, "kill-leader", dir), "killed "+leader+`, which led stream "TCPMUX"`; got != want {
		t.Errorf("kill-leader: got %q, want %q", got, want)
	}
	said(t, lines, leader+" has ended and starts again in 99999 s")
	if !dead(pids[leader]) {
		t.Errorf("%s: got a process, want none", leader)
	}
	store(t, js)
	if next := clusterTells(t, "leader", dir); next == leader {
		t.Errorf("leader: got %s, want another one", next)
	}
	if info, err := js.StreamInfo("TCPMUX"); err != nil || info.State.Msgs < 2 {
		t.Errorf("got %+v and error %v, want at least 2 messages", info, err)
	}

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: got %v, want status 0", err)
	}
	for name, pid := range pids {
		if !dead(pid) {
			t.Errorf("%s runs on", name)
		}
	}
}

// said waits for a line with a prefix, and returns its rest.
func said(t *testing.T, lines *bufio.Scanner, prefix string) string {
	t.Helper()
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), prefix); ok {
			return rest
		}
	}
	t.Fatalf("got the end of the output, want %q", prefix)
	return ""
}

// store stores a message, once there is a leader.
func store(t *testing.T, js nats.JetStreamContext) {
	t.Helper()
	var err error
	await.Until(t, func() bool {
		_, err = js.Publish("tcpmux.x", nil)
		return err == nil
	}, func() { t.Errorf("publish: %v", err) })
}

// clusterTells runs a command of the script once there is a leader, and returns its output.
func clusterTells(t *testing.T, command, dir string) string {
	t.Helper()
	out, err := exec.Command(clusterScript, command, "TCPMUX", "--dir", dir).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return strings.TrimSpace(string(out))
}

func pidsOf(t *testing.T, dir string) map[string]int {
	t.Helper()
	pids := map[string]int{}
	for _, name := range []string{"n1", "n2", "n3"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".pid"))
		if err != nil {
			t.Fatal(err)
		}
		if pids[name], err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			t.Fatal(err)
		}
	}
	return pids
}

func dead(pid int) bool { return syscall.Kill(pid, 0) != nil }

func TestClusterScriptIsUsedRight(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"help", []string{"--help"}, 0, ""},
		{"no stream", []string{"leader"}, 64, "leader needs the name of a stream"},
		{"a stream to run", []string{"run", "X"}, 64, `unexpected argument "X"`},
		{"an unknown flag", []string{"--frob"}, 64, "unknown flag: --frob"},
		{"no port", []string{"--port", "x"}, 64, `--port is "x", want 1 to 65527`},
		{"a port too large", []string{"--port", "65528"}, 64, `--port is "65528", want 1 to 65527`},
		{"no seconds", []string{"--restart-after", "1m"}, 64, `--restart-after is "1m", want seconds`},
		{"a value is missing", []string{"--dir"}, 64, "--dir needs an argument"},
		{"no server", []string{"--dir", dir, "--server", "/nowhere"}, 1, `"/nowhere" is not installed`},
		{"a server that fails", []string{"--dir", dir, "--server", "/bin/false", "--port", "20000"}, 1, "the servers have not become a cluster"},
		{"no cluster", []string{"kill-leader", "X", "--dir", dir + "/none"}, 1, "no cluster in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, _, stderr := clitest.Outcome(t, clitest.Program(t, clusterScript, c.args...))
			if status != c.status {
				t.Errorf("status: got %d, want %d", status, c.status)
			}
			clitest.Contains(t, "stderr", stderr, c.stderr)
		})
	}
}
