package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/cmd/internal/cli"
	"tcpmux/internal/await"
)

// converse talks to serve, which has the one connection, over in and out, and returns the error and
// what was heard.
func converse(t *testing.T, in *os.File, out io.Writer, serve func(*net.TCPConn)) error {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var served sync.WaitGroup
	served.Go(func() {
		if conn, err := ln.Accept(); err == nil {
			defer conn.Close()
			serve(conn.(*net.TCPConn))
		}
	})
	defer served.Wait()
	conn, err := dial(t.Context(), ln.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return newTalk(conn, newFile(in), out).run(t.Context())
}

// pipeFile returns both ends of a pipe, closed with the test.
func pipeFile(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		_ = w.Close()
	})
	return r, w
}

// regular returns a file with size bytes.
func regular(t *testing.T, size int) *os.File {
	t.Helper()
	path := t.TempDir() + "/input"
	if err := os.WriteFile(path, bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// check compares err, nil or not, with want, a part of its text.
func check(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Contains(got, "\n") {
		t.Errorf("error: got %q, want a line with %q", got, want)
	}
}

func TestTalkEndOfInputWaitsForTheRest(t *testing.T) {
	in, out := regular(t, 1<<20), &bytes.Buffer{}
	err := converse(t, in, out, func(conn *net.TCPConn) {
		all, _ := io.ReadAll(conn) // ends with our half
		_, _ = conn.Write(append([]byte("\x00\xff\r"), all...))
	})
	check(t, err, "")
	if got := out.Len(); got != 3+1<<20 || !bytes.HasPrefix(out.Bytes(), []byte("\x00\xff\r0123")) {
		t.Errorf("heard: got %d bytes, want %d", got, 3+1<<20)
	}
}

func TestTalkClosingEndsItAtOnce(t *testing.T) {
	in, _ := pipeFile(t)
	var out bytes.Buffer
	err := converse(t, in, &out, func(conn *net.TCPConn) { _, _ = conn.Write([]byte("bye")) })
	check(t, err, "")
	if got := out.String(); got != "bye" {
		t.Errorf("heard: got %q, want %q", got, "bye")
	}
}

func TestTalkToAServerThatOnlyListens(t *testing.T) {
	const size = 8 << 20
	got := make(chan int64, 1)
	err := converse(t, regular(t, size), io.Discard, func(conn *net.TCPConn) {
		_ = conn.CloseWrite()
		n, _ := io.Copy(io.Discard, conn)
		got <- n
	})
	check(t, err, "")
	if n := <-got; n != size {
		t.Errorf("the server got %d bytes, want %d", n, size)
	}
}

func TestTalkResetIsTold(t *testing.T) {
	in, _ := pipeFile(t)
	out := gate{make(chan struct{}), make(chan struct{})}
	err := converse(t, in, out, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("hello"))
		<-out.entered // a reset any earlier could be one of connecting
		_ = conn.SetLinger(0)
		_ = conn.Close()
		close(out.proceed)
	})
	check(t, err, "connection reset by peer")
}

// gate is an output that holds up the talk: the server's closing is not heard before proceed.
type gate struct{ entered, proceed chan struct{} }

func (g gate) Write(p []byte) (int, error) {
	close(g.entered)
	<-g.proceed
	return len(p), nil
}

func TestTalkTellsWhatWasNotDelivered(t *testing.T) {
	for _, c := range []struct {
		name string
		feed []string
		want string
	}{
		{"all was", nil, ""},
		{"sent after the closing", []string{"abc"}, "3 bytes may not have been delivered"},
		{"more than one write", []string{"abc", "defg"}, "at least 7 bytes may not have been delivered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, feed := pipeFile(t)
			out := gate{make(chan struct{}), make(chan struct{})}
			err := converse(t, in, out, func(conn *net.TCPConn) {
				_, _ = conn.Write([]byte("bye"))
				<-out.entered
				_ = conn.Close()
				for _, s := range c.feed {
					_, _ = feed.WriteString(s)
					waitEmpty(t, in)
				}
				close(out.proceed)
			})
			check(t, err, c.want)
		})
	}
}

// waitEmpty waits until the talk has taken what was fed.
func waitEmpty(t *testing.T, in *os.File) {
	t.Helper()
	f := newFile(in)
	await.Until(t, func() bool { return !f.Ready() }, func() { t.Error("the talk does not take what was fed") })
}

func TestTalkInputFails(t *testing.T) {
	in, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	err = converse(t, in, io.Discard, func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) })
	check(t, err, "read standard input: is a directory")
}

func TestTalkOutputFails(t *testing.T) {
	in, _ := pipeFile(t)
	r, w := pipeFile(t)
	_ = r.Close()
	serve := func(conn *net.TCPConn) { _, _ = conn.Write([]byte("hello")) }
	if err := converse(t, in, w, serve); !errors.Is(err, cli.ErrOutputGone) {
		t.Errorf("a pipe nobody reads: got %v, want %v", err, cli.ErrOutputGone)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	check(t, converse(t, in, full, serve), "write standard output: no space left on device")
}

func TestTalkEndsWithItsContext(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(conn *net.TCPConn, cancel func())
	}{
		{"the server says nothing", func(_ *net.TCPConn, cancel func()) { cancel() }},
		{"the server reads nothing", func(conn *net.TCPConn, cancel func()) {
			_ = conn.CloseWrite()
			// Whenever it comes, the talk ends.
			time.AfterFunc(50*time.Millisecond, cancel)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			conn, err := dial(t.Context(), ln.Addr().String(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			peer, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			c.serve(peer.(*net.TCPConn), func() { cancel(why) })
			in, err := os.Open("/dev/zero")
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if err := newTalk(conn, newFile(in), io.Discard).run(ctx); err != why {
				t.Errorf("got %v, want %v", err, why)
			}
		})
	}
}
