package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mux returns the address of a server that takes a line, answers it, in pieces, and closes; the
// line comes by the channel.
func mux(t *testing.T, network string, answer ...string) (address string, asked chan string) {
	t.Helper()
	where := "127.0.0.1:0"
	if network == "unix" {
		where = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	asked = make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := readReply(conn)
		asked <- line
		for _, piece := range answer {
			_, _ = io.WriteString(conn, piece)
		}
	}()
	if network == "unix" {
		return "unix:" + where, asked
	}
	return ln.Addr().String(), asked
}

// TestAsk has the replies of RFC 1078, and what else a server may say.
func TestAsk(t *testing.T) {
	for _, c := range []struct {
		name, service string
		answer        []string
		rest, want    string // what is left to read, and the error
	}{
		{"a plus", "echo", []string{"+\r\nhello"}, "hello", ""},
		{"a plus with a text", "echo", []string{"+Go\r\nhello"}, "hello", ""},
		{"a bare newline", "echo", []string{"+\nhello"}, "hello", ""},
		{"in pieces", "echo", []string{"+", "G", "o\r", "\n", "hello"}, "hello", ""},
		{"a minus", "echo", []string{"-\r\n"}, "", `service "echo": the server refuses it`},
		{"a minus with a reason", "echo", []string{"-unknown service\r\n"}, "", `service "echo": the server refuses it: unknown service`},
		{"a hostile reason", "echo", []string{"-\x1b[2J\u202e\\\r\n"}, "", `the server refuses it: \x1b[2J\u202e\\`},
		{"no reply", "echo", nil, "", `service "echo": the server has closed without a reply`},
		{"half a reply", "echo", []string{"+Go"}, "", `does not speak TCPMUX: it replies "+Go", want + or -`},
		{"another protocol", "echo", []string{"220 mail\r\n"}, "", `does not speak TCPMUX: it replies "220 mail", want + or -`},
		{"an empty line", "echo", []string{"\r\n"}, "", `it replies "", want + or -`},
		{"a line without end", "echo", []string{strings.Repeat("+", 3*maxReply)}, "", `service "echo": the reply is longer than 1024 bytes`},
		{"help", "help", []string{"echo\r\ntime\r\n"}, "echo\r\ntime\r\n", ""},
	} {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(c.name+" "+network, func(t *testing.T) {
				address, asked := mux(t, network, c.answer...)
				conn, err := connect(t.Context(), Options{Address: address, Service: c.service, Timeout: 10 * time.Second})
				if got := <-asked; got != c.service+"\r" {
					t.Errorf("asked: got %q, want %q and CRLF", got, c.service)
				}
				if check(t, err, c.want); err != nil {
					return
				}
				defer conn.Close()
				if rest, err := io.ReadAll(conn); err != nil || string(rest) != c.rest {
					t.Errorf("got %q, %v, want %q", rest, err, c.rest)
				}
			})
		}
	}
}

// TestAskHasATime: that of connecting.
func TestAskHasATime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = connect(t.Context(), Options{Address: ln.Addr().String(), Service: "echo", Timeout: 50 * time.Millisecond})
	check(t, err, "no answer within 50ms")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = connect(ctx, Options{Address: ln.Addr().String(), Service: "echo"})
	check(t, err, "context canceled")
}

// lastMoment is a connection whose reply has come whole when the time is over.
type lastMoment struct {
	net.Conn
	reply string
	over  func()
}

func (c *lastMoment) Write(b []byte) (int, error)   { return len(b), nil }
func (c *lastMoment) SetDeadline(t time.Time) error { return nil }
func (c *lastMoment) Read(b []byte) (n int, err error) {
	if n = copy(b[:1], c.reply); n == len(c.reply) {
		c.over()
	}
	c.reply = c.reply[n:]
	return n, nil
}

// TestAskAtTheLastMoment: the connection may have a deadline by then that has passed.
func TestAskAtTheLastMoment(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := ask(ctx, &lastMoment{reply: "+Go\r\n", over: cancel}, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestCheckService(t *testing.T) {
	for name, good := range map[string]bool{
		"echo": true, "HELP": true, "a b": true, strings.Repeat("x", maxService): true,
		"": false, "a\r\nb": false, "a\x00": false, strings.Repeat("x", maxService+1): false,
	} {
		if err := CheckService(name); (err == nil) != good {
			t.Errorf("%q: got %v, want good %v", name, err, good)
		}
	}
}

// TestHelpIsPrinted, and what is typed is not sent.
func TestHelpIsPrinted(t *testing.T) {
	address, _ := mux(t, "tcp", "echo\r\ntime\r\n")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := Run(t.Context(), Options{Address: address, Service: "HELP", Stdin: os.Stdin, Stdout: out}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out.Name()); err != nil || string(got) != "echo\r\ntime\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestUnixDialErrors say the next step.
func TestUnixDialErrors(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	for path, want := range map[string]string{
		stale:                      "connection refused; is the server running, and is this its socket?",
		filepath.Join(dir, "none"): "no such file or directory; is the server running, and is this its socket?",
	} {
		_, err := dial(t.Context(), "unix:"+path, 0)
		check(t, err, want)
	}
}
