package main

import (
	"bufio"
	"io"
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

// dialogue is a running program: what is written to it, and what it says on one of its outputs.
type dialogue struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	said chan string // chunks; closed at the end
	seen string
	// unstored reports that the service manager stores no descriptors, which the program tells of
	// when it has found out.
	unstored bool
}

// converse starts cmd with its input open. pipe makes the output that is listened to.
func converse(t *testing.T, cmd *exec.Cmd, pipe func() (io.ReadCloser, error)) *dialogue {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &dialogue{t: t, cmd: cmd, in: in, said: make(chan string, 1000)}
	go d.read(out)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return d
}

func (d *dialogue) read(out io.Reader) {
	defer close(d.said)
	r := bufio.NewReader(out)
	for {
		buf := make([]byte, 4096)
		n, err := r.Read(buf)
		if err != nil {
			return
		}
		d.said <- string(buf[:n])
	}
}

// hear waits until the program has said text.
func (d *dialogue) hear(text string) {
	d.t.Helper()
	d.hearFrom(0, text)
}

// hearFrom is hear for what the program says behind so many bytes.
func (d *dialogue) hearFrom(from int, text string) {
	d.t.Helper()
	late := time.After(patience)
	for !strings.Contains(d.seen[from:], text) {
		select {
		case p, ok := <-d.said:
			if !ok {
				d.t.Fatalf("%s: got %q, want %q", d.cmd.Args[0], d.seen, text)
			}
			d.seen += p
		case <-late:
			d.t.Fatalf("%s: got %q, want %q", d.cmd.Args[0], d.seen, text)
		}
	}
}

// ask says something, and waits for an answer that the program has not said before.
func (d *dialogue) ask(text, answer string) {
	d.t.Helper()
	from := len(d.seen)
	d.say(text)
	d.hearFrom(from, answer)
}

func (d *dialogue) say(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.in, text); err != nil {
		d.t.Fatal(err)
	}
}

// ends waits for the program's end, which its output's comes before.
func (d *dialogue) ends() (status int) {
	d.t.Helper()
	// The runtime prints what each goroutine waits for.
	late := time.AfterFunc(patience, func() { _ = d.cmd.Process.Signal(syscall.SIGQUIT) })
	killed := time.AfterFunc(patience+patience/4, func() { _ = d.cmd.Process.Kill() })
	defer func() {
		killed.Stop()
		if !late.Stop() {
			d.t.Errorf("%s: has not ended in %v, after:\n%s", d.cmd.Args[0], patience, d.seen)
		}
	}()
	for p := range d.said {
		d.seen += p
	}
	_ = d.cmd.Wait()
	return d.cmd.ProcessState.ExitCode()
}

// reference is one of the reference programs, at a port of 127.0.0.1.
func reference(t *testing.T, name, port string) *dialogue {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("%v: apt-get install python3", err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-u", filepath.Join("..", "..", "contrib", "reference", name), port)
	return converse(t, cmd, cmd.StdoutPipe)
}

// connected starts the client in a pipe.
func connected(t *testing.T, address string) *dialogue {
	t.Helper()
	cmd := tcpmux(t, "connect", address)
	return converse(t, cmd, cmd.StdoutPipe)
}

func TestConnectTalksToTheReferenceServers(t *testing.T) {
	for _, c := range []struct {
		server string
		closes bool // whether it closes a connection whose client has
	}{
		{"server_thread.py", true},
		{"server_process.py", false},
		{"server_coroutine.py", true},
	} {
		t.Run(c.server, func(t *testing.T) {
			address := clitest.Refused(t)
			_, port, _ := net.SplitHostPort(address)
			server := reference(t, c.server, port)
			server.hear("Waiting link...")
			client := connected(t, address)
			client.hear("Welcome connect!")
			server.hear("Success connect from")
			client.say("grüße\n")
			server.hear(": grüße\n")
			client.say("again")
			server.hear(": again\n")
			_ = client.in.Close()
			if !c.closes {
				_ = server.cmd.Process.Kill()
			}
			if status := client.ends(); status != 0 || client.seen != "Welcome connect!" {
				t.Errorf("got status %d and %q, want 0 and the greeting", status, client.seen)
			}
		})
	}
}

func TestConnectTalksToTheReferenceServersAtATerminal(t *testing.T) {
	address := clitest.Refused(t)
	_, port, _ := net.SplitHostPort(address)
	server := reference(t, "server_thread.py", port)
	server.hear("Waiting link...")
	x := atTerminal(t, "connect", address)
	x.See("Welcome connect!")
	x.Key("typed\r")
	server.hear(": typed\n")
	x.Key("\x04")
	x.See("connection closed by " + address)
	x.Ends(0)
}

// daemonAt starts the daemon on a free port, with a record file in dir.
func daemonAt(t *testing.T, dir string) (d *dialogue, address string) {
	t.Helper()
	return daemonOf(t, settings(t, dir, "127.0.0.1:0", "", ""))
}

// stops ends the daemon in order and returns its record file.
func (d *dialogue) stops(dir string) (records string) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if status := d.ends(); status != 0 {
		d.t.Errorf("daemon: got status %d, want 0: %s", status, d.seen)
	}
	text, err := os.ReadFile(filepath.Join(dir, "records.log"))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

func TestTheReferenceClientTalksToTheDaemon(t *testing.T) {
	dir := t.TempDir()
	daemon, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", "", "[log]\nlevel = \"debug\""))
	_, port, _ := net.SplitHostPort(address)
	client := reference(t, "client.py", port)
	client.hear("receive info: Welcome connect!")
	client.hear("enter info:")
	client.say("hello from python\n")
	_ = client.in.Close() // it ends with an EOFError, as ever
	client.ends()
	daemon.hear("session closed")
	if got := daemon.stops(dir); !strings.Contains(got, " [eof]: hello from python\n") {
		t.Errorf("records: got %q, want what the client said, with the flag eof", got)
	}
}

func TestConnectTalksToTheDaemon(t *testing.T) {
	dir := t.TempDir()
	daemon, address := daemonAt(t, dir)
	client := connected(t, address)
	client.hear("Welcome connect!\r\n")
	client.say("one\ntwo\n\x00last")
	_ = client.in.Close()
	if status := client.ends(); status != 0 {
		t.Errorf("status: got %d, want 0", status)
	}
	records := daemon.stops(dir)
	for _, want := range []string{": one\n", ": two\n", ` [eof]: \x00last` + "\n"} {
		clitest.Contains(t, "records", records, want)
	}
}

func TestASecondSignalEndsTheDaemonAtOnce(t *testing.T) {
	daemon, address := daemonAt(t, t.TempDir())
	greeted(t, address) // and stays, so that there is something to drain
	_ = daemon.cmd.Process.Signal(syscall.SIGTERM)
	daemon.hear("msg=draining")
	_ = daemon.cmd.Process.Signal(syscall.SIGINT)
	if status := daemon.ends(); status != 1 {
		t.Errorf("status: got %d, want 1: %s", status, daemon.seen)
	}
	daemon.hear("second signal (interrupt): not drained\n")
}
