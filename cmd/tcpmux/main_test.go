package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/daemon/signals"
)

// built is the program under test.
var built string

func TestMain(m *testing.M) { os.Exit(buildAndTest(m)) }

func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tcpmux")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		built, err = clitest.Build(dir, ".", "-E "+signals.Entry)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// patience is how long anything is waited for that must come; only a failing test waits that long.
const patience = clitest.Patience

// tcpmux starts the program, to be killed with the test. Its standard input is empty.
func tcpmux(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return clitest.Program(t, built, args...)
}

// write makes a file of the test's own.
func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitStatus(t *testing.T) {
	good, bad := write(t, "good.toml", "backlog = 7\n"), write(t, "bad.toml", "backlog = -1\nmodell = \"x\"\n")
	warned := write(t, "warned.toml", "idle_timeout = \"500ms\"\n")
	both := write(t, "both.toml", "idle_timeout = \"500ms\"\nbacklog = -1\n")
	nobody := clitest.Refused(t)
	for _, c := range []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string // parts; "" is empty
	}{
		{"nothing", nil, 0, "Usage:", ""},
		{"version", []string{"--version"}, 0, "tcpmux 1.2.3\n", ""},
		{"version and more", []string{"-v", "run"}, 64, "", `unknown shorthand flag: 'v' in -v; see "tcpmux help run"`},
		{"unknown command", []string{"frobnicate"}, 64, "", `unknown command "frobnicate" for "tcpmux"; see "tcpmux help"`},
		{"nearly a command", []string{"conect"}, 64, "", `unknown command "conect" for "tcpmux", did you mean connect?; see "tcpmux help"`},
		{"unknown flag", []string{"run", "--frob"}, 64, "", `unknown flag: --frob; see "tcpmux help run"`},
		{"flag without its value", []string{"check", "--config"}, 64, "", `flag needs an argument: --config; see "tcpmux help check"`},
		{"run with an argument", []string{"run", good}, 64, "", `see "tcpmux help run"`},
		{"check with two files", []string{"check", good, bad}, 64, "", `see "tcpmux help check"`},
		{"check in two forms", []string{"check", "--json", "-q", good}, 64, "", `--quiet and --json, want one of them; see "tcpmux help check"`},
		{"check with a file twice", []string{"check", good, "--config", bad}, 64, "", `want one file; see "tcpmux help check"`},
		{"connect with too much", []string{"connect", "a", "1", "2"}, 64, "", `unexpected argument "2"; see "tcpmux help connect"`},
		{"connect without a port", []string{"connect", "a"}, 64, "", `address "a": want HOST:PORT`},
		{"connect with a timeout below zero", []string{"connect", "--timeout", "-1s"}, 64, "", `--timeout is -1s, want 0s or more`},
		{"connect with a timeout without a unit", []string{"connect", "--timeout", "5"}, 64, "", `invalid argument "5" for "--timeout" flag: want a duration with its unit, such as "5s"; see "tcpmux help connect"`},
		{"version as a command", []string{"version"}, 64, "", `unknown command "version" for "tcpmux", did you mean --version?; see "tcpmux help"`},
		{"help about nothing", []string{"help", "frob"}, 64, "", `no help about "frob"; see "tcpmux help"`},
		{"completion for no shell", []string{"completion", "frob"}, 64, "", `see "tcpmux help completion"`},
		{"completion", []string{"completion", "bash"}, 0, "bash completion", ""},
		{"check of a good file", []string{"check", "--config", good}, 0, "backlog = 7\n", ""},
		{"check of a good file by name", []string{"check", good}, 0, "backlog = 7\n", ""},
		{"quiet check of a good file", []string{"check", "--quiet", good}, 0, "", ""},
		{"quiet check of a file with a warning", []string{"check", "-q", "--config", warned}, 0, "", "warning: " + warned + ":1: "},
		{"quiet check of a bad file", []string{"check", "--quiet", bad}, 78, "", bad + ":1: backlog is -1"},
		{"check of a file with a warning", []string{"check", warned}, 0, "idle_timeout = \"500ms\"\n", "warning: " + warned + ":1: "},
		{"check of a file with a fault and a warning", []string{"check", both}, 78, "", "warning: " + both + ":1: "},
		{"check of a bad file", []string{"check", bad}, 78, "", bad + ":1: backlog is -1"},
		{"check of no file", []string{"check", bad + "x"}, 78, "", "no such file or directory"},
		{"run with a bad file", []string{"run", "--config", bad}, 78, "", bad + ":1: backlog is -1"},
		{"run without its file", []string{"run", "--config", bad + "x"}, 78, "", "no such file or directory"},
		{"refused", []string{"connect", nobody}, 1, "", `tcpmux: connect "` + nobody + `": connection refused; is the server running, and on this port?` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := clitest.Outcome(t, tcpmux(t, c.args...))
			if status != c.status {
				t.Errorf("status: got %d, want %d", status, c.status)
			}
			clitest.Contains(t, "stdout", stdout, c.stdout)
			clitest.Contains(t, "stderr", stderr, c.stderr)
			if c.status == 64 && strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr: got %q, want one line", stderr)
			}
		})
	}
}

func TestCheckTellsEveryFault(t *testing.T) {
	bad := write(t, "bad.toml", "backlog = -1\nmodell = \"x\"\n")
	_, _, stderr := clitest.Outcome(t, tcpmux(t, "check", bad))
	if lines := strings.Split(strings.TrimSpace(stderr), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], bad+":2: modell ") {
		t.Errorf("got %q, want a line for each of 2 faults", stderr)
	}
}

func TestCheckedConfigurationIsAConfiguration(t *testing.T) {
	_, first, _ := clitest.Outcome(t, tcpmux(t, "check", write(t, "a.toml", "banner = \"\\u001b\"\n")))
	status, second, _ := clitest.Outcome(t, tcpmux(t, "check", write(t, "b.toml", first)))
	if status != 0 || first != second || first == "" {
		t.Errorf("checking what check printed: got status %d and\n%s\nwant\n%s", status, second, first)
	}
}

func TestCheckReadsStandardInput(t *testing.T) {
	for _, c := range []struct {
		name, stdin    string
		args           []string
		status         int
		stdout, stderr string // parts; "" is empty
	}{
		{"good", "backlog = 7\n", []string{"-"}, 0, "backlog = 7\n", ""},
		{"nothing", "", []string{"-"}, 0, "backlog = 4096\n", ""},
		{"by --config", "backlog = 7\n", []string{"--config", "-"}, 0, "backlog = 7\n", ""},
		{"with a warning", "idle_timeout = \"500ms\"\n", []string{"-q", "-"}, 0, "", "warning: <stdin>:1: idle_timeout"},
		{"bad", "\nbacklog = -1\n", []string{"-"}, 78, "", "<stdin>:2: backlog is -1, want a whole number from 1 to 1000000\n"},
		{"too long", strings.Repeat("#", 1<<20+1), []string{"-"}, 78, "", `read configuration "<stdin>": longer than 1MiB`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := tcpmux(t, append([]string{"check"}, c.args...)...)
			cmd.Stdin = strings.NewReader(c.stdin)
			status, stdout, stderr := clitest.Outcome(t, cmd)
			if status != c.status {
				t.Errorf("status: got %d, want %d", status, c.status)
			}
			clitest.Contains(t, "stdout", stdout, c.stdout)
			clitest.Contains(t, "stderr", stderr, c.stderr)
		})
	}
}

func TestDefaultsHoldWithoutTheDefaultFile(t *testing.T) {
	var stdout, stderr bytes.Buffer
	path := filepath.Join(t.TempDir(), "tcpmux.toml")
	cfg, err := loadOrRead(nil, path, false, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(cfg, path, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	clitest.Contains(t, "stdout", stdout.String(), `address = "127.0.0.1:12345"`)
	clitest.Contains(t, "stderr", stderr.String(), path+": there is no such file; these are the built-in defaults\n")
}

func TestHelpShowsExamples(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"help", "run"}, {"run", "--help"}, {"help", "check"}, {"help", "connect"}, {"connect", "-h"}} {
		status, stdout, stderr := clitest.Outcome(t, tcpmux(t, args...))
		if status != 0 || stderr != "" || !strings.Contains(stdout, "Examples:\n  tcpmux ") {
			t.Errorf("%q: got status %d, %q and %q, want 0, examples, nothing", args, status, stdout, stderr)
		}
	}
}

func TestOutputGoneIsQuiet(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer w.Close()
	hello := clitest.Listen(t, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("hello"))
		_, _ = io.Copy(io.Discard, conn)
	})
	for _, args := range [][]string{{"check", write(t, "good.toml", "")}, {"connect", hello}} {
		var stderr bytes.Buffer
		cmd := tcpmux(t, args...)
		cmd.Stdout, cmd.Stderr = w, &stderr
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != 1 || stderr.Len() > 0 {
			t.Errorf("%s: got %v and %q, want status 1 and nothing", args[0], err, stderr.String())
		}
	}
}

func TestConnectInAPipe(t *testing.T) {
	const hostile = "\x1b[2J\x00\xff\r\nlast"
	echo := clitest.Listen(t, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte(hostile))
		_, _ = io.Copy(conn, conn)
	})
	cmd := tcpmux(t, "connect", echo)
	cmd.Stdin = strings.NewReader("a\x00\xffb")
	status, stdout, stderr := clitest.Outcome(t, cmd)
	if want := hostile + "a\x00\xffb"; status != 0 || stdout != want || stderr != "" {
		t.Errorf("got status %d, %q and %q, want 0, %q and nothing", status, stdout, stderr, want)
	}
}

func TestConnectInAPipeEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		feed   string
		serve  func(*net.TCPConn)
		signal os.Signal
		status int
		stderr string
	}{
		{"server closes", "", func(*net.TCPConn) {}, nil, 0, ""},
		{"server resets", "x", func(conn *net.TCPConn) {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.SetLinger(0)
		}, nil, 1, "connection reset by peer; if the server speaks TLS, --tls does too\n"},
		{"server greets and resets", "x", func(conn *net.TCPConn) {
			_, _ = conn.Write([]byte("hello\n"))
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.SetLinger(0)
		}, nil, 1, "connection reset by peer"},
		{"SIGINT", "", hold, syscall.SIGINT, 130, ""},
		{"SIGTERM", "x", hold, syscall.SIGTERM, 143, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			accepted := make(chan struct{})
			cmd := tcpmux(t, "connect", clitest.Listen(t, func(conn *net.TCPConn) {
				close(accepted)
				c.serve(conn)
			}))
			feed, err := cmd.StdinPipe() // open to the end
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(feed, c.feed)
			<-accepted
			if c.signal != nil {
				_ = cmd.Process.Signal(c.signal)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("status: got %d, want %d", got, c.status)
			}
			clitest.Contains(t, "stderr", stderr.String(), c.stderr)
		})
	}
}

func hold(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) }
