package systemd

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tell sends a notification with descriptors to address.
func tell(t *testing.T, address, state string, fds ...int) {
	t.Helper()
	t.Setenv("NOTIFY_SOCKET", address)
	if err := notifyWith(state, fds...); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyTheProcessItselfIsReady: READY=1 of another process does not count.
func TestOnlyTheProcessItselfIsReady(t *testing.T) {
	for _, c := range []struct {
		name  string
		from  int
		state []string
		ready bool
	}{
		{"it", os.Getpid(), []string{"READY=1"}, true},
		{"it, with its status", os.Getpid(), []string{"STATUS=x", "READY=1\nSTATUS=y"}, true},
		{"it, twice", os.Getpid(), []string{"READY=1", "READY=1"}, true},
		{"another", os.Getpid() + 1, []string{"READY=1"}, false},
		{"it, something else", os.Getpid(), []string{"STATUS=READY=1", "READY=10"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inbox, err := NewInbox()
			if err != nil {
				t.Fatal(err)
			}
			defer inbox.Close()
			ready := inbox.Ready(c.from)
			read, written, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			address := inbox.conn.LocalAddr().String()
			for _, s := range c.state {
				tell(t, address, s)
			}
			// When it is closed, all before it was read.
			tell(t, address, "BARRIER=1", int(written.Fd()))
			_ = written.Close()
			fds := []unix.PollFd{{Fd: int32(read.Fd())}}
			if n, err := unix.Poll(fds, 20_000); err != nil || n != 1 {
				t.Fatalf("barrier: got %d, %v, want it closed", n, err)
			}
			select {
			case <-ready:
				if !c.ready {
					t.Error("got ready, want it not to be")
				}
			default:
				if c.ready {
					t.Error("got not ready, want it to be")
				}
			}
		})
	}
}

// TestAnInboxReadsEverything: a process that sends much does not have to wait.
func TestAnInboxReadsEverything(t *testing.T) {
	inbox, err := NewInbox()
	if err != nil {
		t.Fatal(err)
	}
	ready := inbox.Ready(os.Getpid())
	conn, err := net.Dial("unixgram", inbox.conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	for range 2000 { // more than the kernel queues (net.unix.max_dgram_qlen)
		if _, err := conn.Write(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ready:
	case <-time.After(time.Minute):
		t.Error("got not ready, want it to be")
	}
	inbox.Close()
}
