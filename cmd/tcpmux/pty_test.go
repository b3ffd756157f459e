package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal (pty(7)) with a program at it.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File // kept open, so that its settings can be read when the program is gone
	before unix.Termios
	output chan []byte
	seen   []byte
	cmd    *exec.Cmd
}

// atTerminal starts the program at a terminal of its own.
func atTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	master, slave := openPTY(t)
	x := &terminal{t: t, master: master, slave: slave, output: make(chan []byte, 100), cmd: program(t, args...)}
	x.before = x.settings()
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read()
	return x
}

func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	var number int
	if err := control(master, func(fd int) (err error) {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// control calls f with the file's descriptor, which stays in the hands of Go's poller.
func control(f *os.File, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	return errors.Join(raw.Control(func(fd uintptr) { cerr = call(int(fd)) }), cerr)
}

func (x *terminal) settings() unix.Termios {
	x.t.Helper()
	var settings unix.Termios
	if err := control(x.slave, func(fd int) error {
		got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			settings = *got
		}
		return err
	}); err != nil {
		x.t.Fatal(err)
	}
	return settings
}

// read passes on what the program writes until the test closes the master.
func (x *terminal) read() {
	defer close(x.output)
	for {
		buf := make([]byte, 4096)
		n, err := x.master.Read(buf)
		if err != nil {
			return
		}
		x.output <- buf[:n]
	}
}

// see waits for text beyond what has been seen before, and returns all that came up to it.
func (x *terminal) see(text string) string {
	x.t.Helper()
	late := time.After(patience)
	for {
		if i := bytes.Index(x.seen, []byte(text)); i >= 0 {
			before := string(x.seen[:i+len(text)])
			x.seen = x.seen[i+len(text):]
			return before
		}
		select {
		case p, ok := <-x.output:
			if !ok {
				x.t.Fatalf("got %q, want %q", x.seen, text)
			}
			x.seen = append(x.seen, p...)
		case <-late:
			x.t.Fatalf("got %q, want %q", x.seen, text)
		}
	}
}

func (x *terminal) key(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.master, keys); err != nil {
		x.t.Fatal(err)
	}
}

// ends waits for the program's end and compares its status and the terminal it leaves.
func (x *terminal) ends(status int) {
	x.t.Helper()
	_ = x.cmd.Wait()
	if got := x.cmd.ProcessState.ExitCode(); got != status {
		x.t.Errorf("status: got %d, want %d", got, status)
	}
	if got := x.settings(); got != x.before {
		x.t.Errorf("terminal: got %+v, want %+v", got, x.before)
	}
}

// peer is a server with one client, played by the test.
func peer(t *testing.T) (address string, connected chan *net.TCPConn) {
	connected = make(chan *net.TCPConn)
	done := make(chan struct{})
	address = listen(t, func(conn *net.TCPConn) {
		connected <- conn
		<-done
	})
	t.Cleanup(func() { close(done) })
	return address, connected
}

func say(t *testing.T, conn *net.TCPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// hear reads what the peer must have sent.
func hear(t *testing.T, conn *net.TCPConn, want string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("the peer said %q (%v), want %q", got[:n], err, want)
	}
}

func TestTerminal(t *testing.T) {
	address, connected := peer(t)
	x := atTerminal(t, "connect", address)
	server := <-connected
	x.see("connected to " + address)
	say(t, server, "Welcome connect!") // no newline, and yet shown
	x.see("Welcome connect!")
	x.key("first\r")
	hear(t, server, "first\n")

	x.see("> ")
	x.key("sec")
	x.see("sec")
	say(t, server, "tick\r\n")
	x.see("tick\r\n")
	x.see("> sec") // drawn again below
	x.key("ond\r")
	hear(t, server, "second\n")

	x.key("a\tb\r")
	hear(t, server, "a\tb\n")

	x.key("\x1b[A\x1b[A\x1b[A\r") // up, up, up
	hear(t, server, "first\n")

	x.key("grüße 你好\x7f!\r")
	hear(t, server, "grüße 你!\n")

	say(t, server, "\x1b]0;title\x07\x9b2J\u202e\xe4\n")
	x.see(`\x1b]0;title\x07\x9b2J\u202e\xe4` + "\r\n")

	x.key("half")
	x.see("half")
	_ = server.Close()
	x.see("connection closed by " + address + "\r\n")
	x.see("half\r\n")
	x.ends(0)
}

func TestTerminalEndOfInput(t *testing.T) {
	address, connected := peer(t)
	x := atTerminal(t, "connect", address)
	server := <-connected
	x.see("> ")
	x.key("last\r\x04")
	hear(t, server, "last\n")
	if n, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after Ctrl-D the server heard %d bytes (%v), want the end", n, err)
	}
	say(t, server, "the rest\n")
	x.see("the rest\r\n")
	_ = server.Close()
	x.see("connection closed by " + address + "\r\n")
	x.ends(0)
}

func TestTerminalEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(x *terminal, server *net.TCPConn)
		seen   string
		status int
	}{
		{"Ctrl-C", func(x *terminal, _ *net.TCPConn) { x.key("half\x03") }, "half\r\n", 130},
		{"Ctrl-C after Ctrl-D", func(x *terminal, _ *net.TCPConn) { x.key("\x04\x03") }, "", 130},
		{"SIGTERM", func(x *terminal, _ *net.TCPConn) { _ = x.cmd.Process.Signal(syscall.SIGTERM) }, "", 143},
		{"SIGINT", func(x *terminal, _ *net.TCPConn) { _ = x.cmd.Process.Signal(syscall.SIGINT) }, "", 130},
		{"reset", func(_ *terminal, server *net.TCPConn) {
			_ = server.SetLinger(0)
			_ = server.Close()
		}, "connection reset by peer\r\n", 1},
		{"an unfinished rune", func(_ *terminal, server *net.TCPConn) {
			_, _ = server.Write([]byte("end\xe4\xbd"))
			_ = server.Close()
		}, `end\xe4\xbd` + "\r\nconnection closed by", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			address, connected := peer(t)
			x := atTerminal(t, "connect", address)
			server := <-connected
			x.see("> ")
			if x.settings() == x.before {
				t.Error("the terminal is not in raw mode")
			}
			c.do(x, server)
			x.see(c.seen)
			x.ends(c.status)
		})
	}
}

func TestTerminalOnOneSideOnlyIsAPipe(t *testing.T) {
	address, connected := peer(t)
	_, slave := openPTY(t)
	var stdout bytes.Buffer
	cmd := program(t, "connect", address)
	cmd.Stdin, cmd.Stdout = slave, &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	server := <-connected
	say(t, server, "\x1b[2J\r\n")
	_ = server.Close()
	if err := cmd.Wait(); err != nil || stdout.String() != "\x1b[2J\r\n" {
		t.Errorf("got %q (%v), want the bytes as they are", stdout.String(), err)
	}
}

func TestTerminalNothingHostileComesThrough(t *testing.T) {
	address, connected := peer(t)
	x := atTerminal(t, "connect", address)
	server := <-connected
	x.see("> ")
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	say(t, server, string(all)+"\x1b[6n\nEND\n")
	got := x.see("END")
	for _, own := range []string{"\x1b[K", "\x1b[2D", "\x1b[5D", "\x1b[A", "\r", "\n", "\t"} { // what the line editor draws with
		got = strings.ReplaceAll(got, own, "")
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return r < 0x20 || r >= 0x7f }); i >= 0 {
		t.Errorf("got %q at %d of %q, want printable ASCII only", got[i], i, got)
	}
	_ = server.Close()
	x.ends(0)
}

// TestOutputAtATerminalIsEscapedWhateverTheInput: standard output decides, so "echo hello | tcpmux connect HOST" is as safe as
// typing.
func TestOutputAtATerminalIsEscapedWhateverTheInput(t *testing.T) {
	address := listen(t, func(conn *net.TCPConn) {
		for _, part := range []string{"\x1b]0;owned\x07\x9b31m\xc2", "\x85\u202e\xe2\x80", "\n\xc3"} {
			_, _ = io.WriteString(conn, part) // if it fails, so does the test
		}
		_ = conn.CloseWrite()
		hold(conn)
	})
	master, slave := openPTY(t)
	x := &terminal{t: t, master: master, slave: slave, output: make(chan []byte, 100), cmd: program(t, "connect", address)}
	x.before = x.settings()
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = strings.NewReader("hello\n"), slave, slave
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read()
	if got, want := x.see(`\xc3`), `\x1b]0;owned\x07\x9b31m\u0085\u202e\xe2\x80`+"\r\n"+`\xc3`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	x.ends(0)
}
