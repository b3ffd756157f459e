//go:build !race

// Under the race detector a sync.Pool loses what it is given.

package builtin

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/session"
)

// TestNothingIsAllocated for what is carried, once a session has begun.
func TestNothingIsAllocated(t *testing.T) {
	for _, service := range []string{config.ServiceEcho, config.ServiceDiscard} {
		t.Run(service, func(t *testing.T) {
			ours, theirs := pair(t)
			c := newCarrier(newSession(service, ours), service == config.ServiceEcho)
			if why, err := c.begin(); why != "" {
				t.Fatal(why, err)
			}
			text, got := []byte("hello"), make([]byte, 10)
			if n := testing.AllocsPerRun(200, func() {
				if _, err := unix.Write(theirs, text); err != nil {
					t.Fatal(err)
				}
				if why, err := c.next(); why != "" {
					t.Fatal(why, err)
				}
				_, _ = unix.Read(theirs, got)
				c.paid = time.Time{} // it does not pause
			}); n > 0 {
				t.Errorf("got %v allocations for a message, want none", n)
			}
			if service == config.ServiceEcho && string(got[:5]) != "hello" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// pair returns a connection and the descriptor of its other end.
func pair(t *testing.T) (ours *conn.Poll, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = conn.NewPoll(fds[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ours.Close()
		_ = unix.Close(fds[1])
	})
	return ours, fds[1]
}

// newSession returns a session that nobody runs.
func newSession(service string, c conn.Conn) *session.Session {
	l := config.Default().Listeners[0]
	l.Service, l.Banner, l.Record = service, config.Bytes{}, false
	cfg := session.Config{Env: &session.Env{BannerTimeout: time.Second}, Settings: session.NewSettings(l, 0), Conn: c, Opened: time.Now()}
	cfg.Bounds = new(atomic.Pointer[session.Bounds])
	cfg.Bounds.Store(session.BoundsOf(l))
	return session.New(cfg)
}

// TestWhoWaitsForRoomHoldsNoBuffer: what has no room stays in the socket.
func TestWhoWaitsForRoomHoldsNoBuffer(t *testing.T) {
	ours, theirs := pair(t)
	c := newCarrier(newSession(config.ServiceEcho, ours), true)
	if why, err := c.begin(); why != "" {
		t.Fatal(why, err)
	}
	for n := 1; n > 0; {
		n, _ = ours.TryWrite(make([]byte, 64<<10))
	}
	if _, err := unix.Write(theirs, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	released := 0
	c.free = func() {
		if c.chunk != nil {
			released++
		}
		c.release()
	}
	c.due = time.Now().Add(10 * time.Millisecond) // it waits no longer
	if why, err := c.next(); why != "" || released != 1 || ours.Unread() != 5 {
		t.Errorf("got %q, %v, %d buffers given back and %d bytes unread, want 1 and 5", why, err, released, ours.Unread())
	}
}
