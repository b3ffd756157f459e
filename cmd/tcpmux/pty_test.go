package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
)

// atTerminal starts the program at a terminal of its own.
func atTerminal(t *testing.T, args ...string) *clitest.Terminal {
	t.Helper()
	return clitest.Start(t, tcpmux(t, args...))
}

// peer is a server with one client, played by the test.
func peer(t *testing.T) (address string, connected chan *net.TCPConn) {
	connected = make(chan *net.TCPConn)
	done := make(chan struct{})
	address = clitest.Listen(t, func(conn *net.TCPConn) {
		connected <- conn
		<-done
	})
	t.Cleanup(func() { close(done) })
	return address, connected
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// hear reads what the peer must have sent.
func hear(t *testing.T, conn net.Conn, want string) {
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
	x.See("connected to " + address)
	say(t, server, "Welcome connect!") // no newline, and yet shown
	x.See("Welcome connect!")
	x.Key("first\r")
	hear(t, server, "first\n")

	x.See("> ")
	x.Key("sec")
	x.See("sec")
	say(t, server, "tick\r\n")
	x.See("tick\r\n")
	x.See("> sec") // drawn again below
	x.Key("ond\r")
	hear(t, server, "second\n")

	x.Key("a\tb\r")
	hear(t, server, "a\tb\n")

	x.Key("\x1b[A\x1b[A\x1b[A\r") // up, up, up
	hear(t, server, "first\n")

	x.Key("grüße 你好\x7f!\r")
	hear(t, server, "grüße 你!\n")

	say(t, server, "\x1b]0;title\x07\x9b2J\u202e\xe4\n")
	x.See(`\x1b]0;title\x07\x9b2J\u202e\xe4` + "\r\n")

	x.Key("half")
	x.See("half")
	_ = server.Close()
	x.See("connection closed by " + address + "\r\n")
	x.See("half\r\n")
	x.Ends(0)
}

func TestTerminalEndOfInput(t *testing.T) {
	address, connected := peer(t)
	x := atTerminal(t, "connect", address)
	server := <-connected
	x.See("> ")
	x.Key("last\r\x04")
	hear(t, server, "last\n")
	if n, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after Ctrl-D the server heard %d bytes (%v), want the end", n, err)
	}
	say(t, server, "the rest\n")
	x.See("the rest\r\n")
	_ = server.Close()
	x.See("connection closed by " + address + "\r\n")
	x.Ends(0)
}

func TestTerminalEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(x *clitest.Terminal, server *net.TCPConn)
		seen   string
		status int
	}{
		{"Ctrl-C", func(x *clitest.Terminal, _ *net.TCPConn) { x.Key("half\x03") }, "half\r\n", 130},
		{"Ctrl-C after Ctrl-D", func(x *clitest.Terminal, _ *net.TCPConn) { x.Key("\x04\x03") }, "", 130},
		{"SIGTERM", func(x *clitest.Terminal, _ *net.TCPConn) { _ = x.Cmd.Process.Signal(syscall.SIGTERM) }, "", 143},
		{"SIGINT", func(x *clitest.Terminal, _ *net.TCPConn) { _ = x.Cmd.Process.Signal(syscall.SIGINT) }, "", 130},
		{"reset", func(_ *clitest.Terminal, server *net.TCPConn) {
			_ = server.SetLinger(0)
			_ = server.Close()
		}, "connection reset by peer; if the server speaks TLS, --tls does too\r\n", 1},
		{"an unfinished rune", func(_ *clitest.Terminal, server *net.TCPConn) {
			_, _ = server.Write([]byte("end\xe4\xbd"))
			_ = server.Close()
		}, `end\xe4\xbd` + "\r\nconnection closed by", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			address, connected := peer(t)
			x := atTerminal(t, "connect", address)
			server := <-connected
			x.See("> ")
			if x.Settings() == x.Before {
				t.Error("the terminal is not in raw mode")
			}
			c.do(x, server)
			x.See(c.seen)
			x.Ends(c.status)
		})
	}
}

func TestTerminalOnOneSideOnlyIsAPipe(t *testing.T) {
	address, connected := peer(t)
	_, slave := clitest.OpenPTY(t)
	var stdout bytes.Buffer
	cmd := tcpmux(t, "connect", address)
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
	x.See("> ")
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	say(t, server, string(all)+"\x1b[6n\nEND\n")
	got := x.See("END")
	// What the line editor draws with.
	for _, own := range []string{"\x1b[K", "\x1b[2D", "\x1b[5D", "\x1b[A", "\r", "\n", "\t"} {
		got = strings.ReplaceAll(got, own, "")
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return r < 0x20 || r >= 0x7f }); i >= 0 {
		t.Errorf("got %q at %d of %q, want printable ASCII only", got[i], i, got)
	}
	_ = server.Close()
	x.Ends(0)
}

// TestOutputAtATerminalIsEscapedWhateverTheInput: standard output decides, so "echo hello | tcpmux
// connect HOST" is as safe as typing.
func TestOutputAtATerminalIsEscapedWhateverTheInput(t *testing.T) {
	address := clitest.Listen(t, func(conn *net.TCPConn) {
		for _, part := range []string{"\x1b]0;owned\x07\x9b31m\xc2", "\x85\u202e\xe2\x80", "\n\xc3"} {
			_, _ = io.WriteString(conn, part) // if it fails, so does the test
		}
		_ = conn.CloseWrite()
		hold(conn)
	})
	cmd := tcpmux(t, "connect", address)
	cmd.Stdin = strings.NewReader("hello\n")
	x := clitest.Start(t, cmd)
	if got, want := x.See(`\xc3`), `\x1b]0;owned\x07\x9b31m\u0085\u202e\xe2\x80`+"\r\n"+`\xc3`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	x.Ends(0)
}
