package conn_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// TestPeekOn: a peek goes on behind what descriptors were sent with, and what it has shown is there
// still.
func TestPeekOn(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T) (conn.Conn, *os.File)
	}{
		{"tracked", func(t *testing.T) (conn.Conn, *os.File) {
			c, client, m := newTracked(t, "poll")
			m.urgent = true // only the stream counts here
			return c, client
		}},
		{"poll", func(t *testing.T) (conn.Conn, *os.File) {
			client, fd := unixPair(t)
			return newPoll(t, fd), client
		}},
		{"thread", func(t *testing.T) (conn.Conn, *os.File) {
			client, fd := unixPair(t)
			return conn.NewThread(fd, new(conn.Wakeup)), client
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c, client := c.make(t)
			defer c.Close()
			for _, text := range []string{"na", "m", "e\n", "more"} {
				if err := unix.Sendmsg(int(client.Fd()), []byte(text), unix.UnixRights(0), nil, 0); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []string{"name\nmore", "name\n", "name\nmore"} {
				buf := make([]byte, len(want))
				n, err := c.Peek(buf)
				if err != nil || n != len("na") {
					t.Fatalf("peek: got %q and %v, want %q", buf[:max(n, 0)], err, "na")
				}
				if n = conn.PeekOn(c, buf, n); string(buf[:n]) != want {
					t.Errorf("got %q, want %q", buf[:n], want)
				}
			}
			if err := c.Discard(len("name\n")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 20)
			if n, err := c.Take(buf); err != nil || string(buf[:n]) != "more" {
				t.Errorf("behind it: got %q and %v, want %q", buf[:max(n, 0)], err, "more")
			}
		})
	}
}
