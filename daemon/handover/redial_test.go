package handover_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
)

// crowded is a listening socket whose backlog is full: who connects waits.
type crowded struct {
	t    *testing.T
	fd   int
	to   string          // its address
	full map[string]bool // the addresses of those in the backlog
}

func newCrowded(t *testing.T) *crowded {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &crowded{t: t, fd: fd, full: make(map[string]bool)}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	c.to = fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for {
		in, err := net.DialTimeout("tcp", c.to, 200*time.Millisecond)
		if err != nil {
			return c
		}
		t.Cleanup(func() { _ = in.Close() })
		c.full[in.LocalAddr().String()] = true
	}
}

// accept makes room, and returns the first connection that has waited.
func (c *crowded) accept() halfCloser {
	c.t.Helper()
	file := os.NewFile(uintptr(dup(c.t, c.fd)), "")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		c.t.Fatal(err)
	}
	defer ln.Close()
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(servertest.Patience))
	for {
		up := acceptUpstream(c.t, ln)
		if !c.full[up.RemoteAddr().String()] {
			return up
		}
	}
}

// TestWhoWaitsForItsUpstreamHasItFromTheNextDaemon: what the client has said meanwhile is in its
// socket, and it is greeted, recorded and connected once.
func TestWhoWaitsForItsUpstreamHasItFromTheNextDaemon(t *testing.T) {
	for name, record := range map[string]bool{"off the record": false, "recorded": true} {
		t.Run(name, func(t *testing.T) {
			full := newCrowded(t)
			proxied, _ := proxying(t, "tcp", record)
			change := func(c *config.Config) {
				proxied(c)
				c.Listeners[0].Proxy.To, c.Listeners[0].Banner = []string{full.to}, config.Text("hello\r\n")
			}
			d, st := surviving(t, change)
			d.Open()
			c := d.Client()
			c.Hear("hello\r\n")
			c.Say("one\n")
			for range 2 { // over more than one daemon
				d.connects()
				d.leave()
				if got := d.Out.String(); strings.Contains(got, "close") {
					t.Errorf("records: got %q, want no end of the session", got)
				}
				d = st.next(change)
			}
			d.connects()
			c.Say("two\n")
			_ = c.CloseWrite()
			up := full.accept()
			hearEndOf(t, up, "one\ntwo\n")
			sayTo(t, up, "answer")
			_ = up.Close()
			if got := c.HearEnd(); got != "answer" {
				t.Errorf("got %q, want the answer and nothing else", got)
			}
			d.AwaitRecords(": eof, ", ", 8 bytes\n")
			if got := d.Out.String(); strings.Contains(got, "open") {
				t.Errorf("records: got %q, want no second beginning", got)
			}
		})
	}
}

// connects waits until the daemon's only client waits for its upstream.
func (d *daemon) connects() {
	d.T.Helper()
	servertest.Eventually(d.T, func() bool { return d.session().Summary().State == session.ForUpstream }, func() { d.T.Error("no upstream is waited for") })
}
