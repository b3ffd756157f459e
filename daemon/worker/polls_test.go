package worker

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/session"
	"tcpmux/internal/await"
)

// countedConn counts how often it is looked at.
type countedConn struct {
	*conn.Poll
	looks atomic.Int64
}

func (c *countedConn) Peek(buf []byte) (int, error) {
	c.looks.Add(1)
	return c.Poll.Peek(buf)
}

func (c *countedConn) Readable() (some, ended bool) {
	c.looks.Add(1)
	return c.Poll.Readable()
}

// answering is a daemon that answers every frame.
type answering struct{ sink *remoteSink }

func (d answering) Write(b []byte) (int, error) {
	if parseFrameHeader(b).Kind == frameMessages {
		go d.sink.answered(written) // who writes holds the lock
	}
	return len(b), nil
}

// TestTheBeginningOfAMessageIsNotLookedAtForEver: a pair of sockets is readable while anything is
// in it, whatever its low water.
func TestTheBeginningOfAMessageIsNotLookedAtForEver(t *testing.T) {
	const pieces = 200
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	poll, err := conn.NewPoll(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer poll.Close()
	c := &countedConn{Poll: poll}
	k := newChildServer(&channel{})
	k.sink.out = answering{k.sink}
	s := session.NewRecorder(k.newSession(setupWith(framing.Line), c))
	ended := make(chan session.Reason)
	go func() {
		why, _ := s.Serve() // it ends well
		ended <- why
	}()
	for range pieces {
		if _, err := unix.Write(fds[1], []byte("x")); err != nil {
			t.Fatal(err)
		}
		await.Until(t, func() bool { return poll.Unread() == 0 }, func() { t.Error("it stays in the socket") })
	}
	_ = unix.Shutdown(fds[1], unix.SHUT_WR)
	if why := <-ended; why != session.ByEOF || s.Tally().Offset != pieces {
		t.Errorf("got %q at %d, want %q at %d", why, s.Tally().Offset, session.ByEOF, pieces)
	}
	// What has come is seen twice: then it is moved, and does not wait in the socket. And nothing
	// is seen once.
	if got := c.looks.Load(); got > 6*(pieces+1) {
		t.Errorf("looked %d times at %d pieces", got, pieces)
	}
}
