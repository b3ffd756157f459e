package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
)

// socketPath returns a path for a unix socket, short wherever the test's directory is.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpmux")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// dialUnix connects, and closes with the test.
func dialUnix(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.UnixConn)
}

// needs returns the path of a program, or ends the test.
func needs(t *testing.T, program, how string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		lacks(t, err.Error(), how)
	}
	return path
}

// TestRealClientsOfAUnixSocket in three models.
func TestRealClientsOfAUnixSocket(t *testing.T) {
	netcat := needs(t, "nc", "apt-get install netcat-openbsd")
	socat := needs(t, "socat", "apt-get install socat")
	curl := needs(t, "curl", "apt-get install curl")
	for _, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			dir, path := t.TempDir(), socketPath(t)
			d, address := daemonOf(t, settings(t, dir, "unix:"+path, fmt.Sprintf("model = %q\nack = \"ok\\n\"\n", model), ""))
			if address != "unix:"+path {
				t.Errorf("log: got the address %q, want unix:%s", address, path)
			}
			for _, cmd := range []*exec.Cmd{
				exec.CommandContext(t.Context(), netcat, "-N", "-U", path),
				exec.CommandContext(t.Context(), socat, "-t", "10", "-", "UNIX-CONNECT:"+path),
			} {
				name := filepath.Base(cmd.Path)
				cmd.Stdin = strings.NewReader("hello from " + name + "\n")
				status, stdout, stderr := clitest.Outcome(t, cmd)
				if status != 0 || stdout != "Welcome connect!\r\nok\n" {
					t.Errorf("%s: got status %d, %q and %q, want the greeting and an acknowledgement", name, status, stdout, stderr)
				}
				recorded(t, dir, fmt.Sprintf(",pid=%d,socket=", cmd.Process.Pid))
				recorded(t, dir, ": hello from "+name+"\n")
			}
			d.stops(dir)
		})
	}
	t.Run("program", func(t *testing.T) {
		dir, path := t.TempDir(), socketPath(t)
		d, _ := daemonOf(t, settings(t, dir, "unix:"+path, `exec = ["/bin/sh", "-c", 'sed -u "/^.$/q" >/dev/null; printf "HTTP/1.0 200 OK\r\n\r\n$PROTO $UNIXREMOTEPID $UNIXLOCALPATH"']`+"\nexec_timeout = \"1m\"\n", ""))
		cmd := exec.CommandContext(t.Context(), curl, "--silent", "--unix-socket", path, "http://localhost/")
		status, stdout, stderr := clitest.Outcome(t, cmd)
		if want := fmt.Sprintf("UNIX %d %s", cmd.Process.Pid, path); status != 0 || stdout != want {
			t.Errorf("got status %d, %q and %q, want %q", status, stdout, stderr, want)
		}
		d.stops(dir)
	})
}

// TestTheFileOfAUnixSocket is removed at the end. After a kill it is left over, and the next daemon
// replaces it; what is no socket stays.
func TestTheFileOfAUnixSocket(t *testing.T) {
	dir, path := t.TempDir(), socketPath(t)
	config := settings(t, dir, "unix:"+path, "mode = \"0606\"\ndrain_timeout = \"0s\"\n", "")
	killed, _ := daemonOf(t, config)
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o606 {
		t.Errorf("got %v and %v, want a socket of mode 0606", info, err)
	}
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("got %v, want that the file is left over", err)
	}
	d, _ := daemonOf(t, config)
	hear(t, dialUnix(t, path), "Welcome connect!\r\n")
	// Nobody takes its place while it serves.
	other := tcpmux(t, "run", "--config", settings(t, t.TempDir(), "unix:"+path, "", ""))
	status, _, stderr := clitest.Outcome(t, other)
	if status != 1 || !strings.Contains(stderr, "another process listens") {
		t.Errorf("a second daemon: got status %d and %q, want that another listens", status, stderr)
	}
	hear(t, dialUnix(t, path), "Welcome connect!\r\n")
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("stopped: got error %v, want no file", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr = clitest.Outcome(t, tcpmux(t, "run", "--config", config))
	if got, err := os.ReadFile(path); status != 1 || !strings.Contains(stderr, "is no socket") || err != nil || string(got) != "mine" {
		t.Errorf("a file: got status %d, %q, and %q in the file, want an error and the file as it was", status, stderr, got)
	}
}

// TestInheritedUnixSocketsAreServed, by name and by path, and stay where systemd has made them.
func TestInheritedUnixSocketsAreServed(t *testing.T) {
	for _, name := range []string{"tcpmux", "some.socket", ""} {
		t.Run("as "+name, func(t *testing.T) {
			dir, path := t.TempDir(), socketPath(t)
			ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			file, err := ln.File()
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			d, _ := started(t, activated(t, settings(t, dir, "unix:"+path, "", ""), name, file))
			conn := dialUnix(t, path)
			hear(t, conn, "Welcome connect!\r\n")
			say(t, conn, "hello\n")
			_ = conn.Close()
			recorded(t, dir, fmt.Sprintf(" from uid=%d,gid=%d,pid=%d,socket=", os.Getuid(), os.Getgid(), os.Getpid()))
			recorded(t, dir, ": hello\n")
			d.stops(dir)
			if !strings.Contains(d.seen, "address=unix:"+path+" backlog=4096 inherited=true") || strings.Contains(d.seen, "differ from the configuration") {
				t.Errorf("log: got %q, want an inherited socket at %s", d.seen, path)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("got %v, want the file where it was", err)
			}
		})
	}
}

// TestClientsOfOneProcessAreToldApart in text records, by the number of their sockets.
func TestClientsOfOneProcessAreToldApart(t *testing.T) {
	dir, path := t.TempDir(), socketPath(t)
	d, _ := daemonOf(t, settings(t, dir, "unix:"+path, "banner = \"\"\n", ""))
	var conns []*net.UnixConn
	for range 5 {
		conns = append(conns, dialUnix(t, path))
	}
	for round := range 3 {
		for i, conn := range conns {
			say(t, conn, fmt.Sprintf("client %d round %d\n", i, round))
		}
	}
	for _, conn := range conns {
		_ = conn.CloseWrite()
	}
	records := filepath.Join(dir, "records.log")
	for i := range conns {
		recorded(t, dir, fmt.Sprintf(": client %d round 2\n", i))
	}
	d.stops(dir)
	status, stdout, stderr := clitest.Outcome(t, tcpmux(t, "verify", records))
	if status != 0 || !strings.Contains(stdout, "5") {
		t.Errorf("verify: got status %d, %q and %q, want five whole sessions", status, stdout, stderr)
	}
	status, stdout, stderr = clitest.Outcome(t, tcpmux(t, "cat", "--remote", fmt.Sprintf("uid=%d", os.Getuid()), records))
	if status != 0 || strings.Count(stdout, "round") != 15 {
		t.Errorf("cat: got status %d, %q and %q, want all that the user has sent", status, stdout, stderr)
	}
}
