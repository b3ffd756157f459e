package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"tcpmux/cmd/internal/clitest"
)

// activated is the daemon as systemd starts it: with descriptors from 3 on, and their names.
func activated(t *testing.T, config, names string, files ...*os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, built, "run", "--config", config)
	cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles, cmd.WaitDelay = files, patience
	return cmd
}

// socket is a listening socket to be passed in.
func socket(t *testing.T) (f *os.File, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if f, err = ln.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, ln.Addr().String()
}

func TestInheritedSocketsAreServed(t *testing.T) {
	first, at := socket(t)
	second, at2 := socket(t)
	for _, c := range []struct {
		name, address, more string // of the configuration
		names               string
		files               []*os.File
	}{
		{"by name", "127.0.0.1:1", "", "tcpmux", []*os.File{first}},
		{"by address", at, "", "tcpmux.socket", []*os.File{first}},
		{"in order", "127.0.0.1:1", "", "tcpmux.socket", []*os.File{first}},
		{"without a name", "127.0.0.1:1", "", "", []*os.File{first}},
		{"two by name", "127.0.0.1:1", "[[listener]]\nname = \"b\"\naddress = \"127.0.0.1:2\"\nbanner = \"b\\r\\n\"\n", "b:tcpmux", []*os.File{second, first}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := activated(t, settings(t, dir, c.address, "", c.more), c.names, c.files...)
			d := converse(t, cmd, cmd.StderrPipe)
			d.hear("msg=ready ")
			conn := greeted(t, at)
			if len(c.files) == 2 {
				other := dial(t, at2)
				hear(t, other, "b\r\n")
				_ = other.Close()
			}
			say(t, conn, "hello\n")
			_ = conn.Close()
			recorded(t, dir, ": hello\n")
			d.stops(dir)
			if !strings.Contains(d.seen, "address="+at+" backlog=4096 inherited=true") {
				t.Errorf("log: got %q, want an inherited socket at %s", d.seen, at)
			}
		})
	}
}

// TestAnInheritedSocketOutlivesTheDaemon: who connects while none runs is served by the next.
func TestAnInheritedSocketOutlivesTheDaemon(t *testing.T) {
	dir := t.TempDir()
	file, address := socket(t)
	config := settings(t, dir, address, "", "")
	for round := range 2 {
		conn := dial(t, address)
		say(t, conn, fmt.Sprintf("round %d\n", round))
		cmd := activated(t, config, "tcpmux", file)
		d := converse(t, cmd, cmd.StderrPipe)
		hear(t, conn, "Welcome connect!\r\n")
		_ = conn.Close()
		recorded(t, dir, fmt.Sprintf(": round %d\n", round))
		d.hear("msg=ready ")
		d.stops(dir)
	}
}

// TestSocketsForSomebodyElseAreNotOurs: LISTEN_PID names another process.
func TestSocketsForSomebodyElseAreNotOurs(t *testing.T) {
	dir := t.TempDir()
	file, _ := socket(t)
	cmd := tcpmux(t, "run", "--config", settings(t, dir, "127.0.0.1:0", "", ""))
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID=1")
	cmd.ExtraFiles = []*os.File{file}
	d := converse(t, cmd, cmd.StderrPipe)
	d.hear("msg=ready ")
	d.stops(dir)
	clitest.Contains(t, "log", d.seen, "a wrapper has to start tcpmux by exec\" LISTEN_PID=1 pid="+strconv.Itoa(cmd.Process.Pid))
	if !strings.Contains(d.seen, "inherited=false") {
		t.Errorf("log: got %q, want a socket of its own", d.seen)
	}
}

func TestExitStatusOfTheDaemon(t *testing.T) {
	first, at := socket(t)
	second, _ := socket(t)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	datagrams, err := udp.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	dir := t.TempDir()
	good := settings(t, dir, "127.0.0.1:0", "", "")
	for _, c := range []struct {
		name   string
		cmd    *exec.Cmd
		status int
		stderr []string
	}{
		{"a socket that matches nothing", activated(t, settings(t, dir, "127.0.0.1:1", "", ""), "x:y", first, second), 78, []string{`socket "x"`, `socket "y"`, `listener "tcpmux"`}},
		{"a socket of another kind", activated(t, good, "datagrams", datagrams), 78, []string{`socket "datagrams"`, "want a listener of TCP"}},
		{"a file for a socket", activated(t, good, "null", devNull(t)), 78, []string{`socket "null"`, "want a listener of TCP"}},
		{"a bad configuration", tcpmux(t, "run", "--config", write(t, "bad.toml", "backlog = 0\n")), 78, []string{":1: backlog is 0"}},
		{"an address in use", tcpmux(t, "run", "--config", settings(t, dir, at, "", "")), 1, []string{`listener "tcpmux" (` + at + `)`, "address already in use"}},
		{"no place for records", tcpmux(t, "run", "--config", settings(t, "/proc/nosuch", "127.0.0.1:0", "", "")), 1, []string{`"/proc/nosuch/records.log"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := clitest.Outcome(t, c.cmd)
			if status != c.status || stdout != "" {
				t.Errorf("got status %d and %q, want %d and nothing", status, stdout, c.status)
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr: got %q, want %q in it", stderr, want)
				}
			}
		})
	}
}

func devNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestSystemdSocketActivate has the first client start the daemon.
func TestSystemdSocketActivate(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		lacks(t, err.Error(), "apt-get install systemd")
	}
	dir, address := t.TempDir(), clitest.Refused(t)
	cmd := exec.CommandContext(t.Context(), activate, "--listen="+address, "--fdname=tcpmux",
		built, "run", "--config", settings(t, dir, "127.0.0.1:1", "", ""))
	d := converse(t, cmd, cmd.StderrPipe)
	d.hear("Listening on " + address)
	conn := greeted(t, address)
	say(t, conn, "hello\n")
	_ = conn.Close()
	recorded(t, dir, ": hello\n")
	d.stops(dir) // it has become the daemon
	if !strings.Contains(d.seen, "address="+address+" backlog=4096 inherited=true") {
		t.Errorf("log: got %q, want an inherited socket at %s", d.seen, address)
	}
}

// lacks ends a test for want of what this machine does not have: in CI by a failure, as nothing may
// pass there in silence.
func lacks(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s", what, how)
	}
	t.Skipf("%s: %s", what, how)
}
