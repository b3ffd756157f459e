package ring

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// gcVariable is how many connections TestTheKernelsGarbageCollectorLeavesTheRing has. Beyond 16,000
// in flight, each message with descriptors waits for the collector; that takes LimitNOFILE=.
const gcVariable = "TCPMUX_TEST_GC"

// TestTheKernelsGarbageCollectorLeavesTheRing: it collects sockets that lie in queues of each other
// and nowhere else (net/unix/garbage.c of Linux). Connections of unix sockets lie only in the ring,
// after a process has died, and may have in their own queues what clients have sent: also the other
// ends of themselves.
func TestTheKernelsGarbageCollectorLeavesTheRing(t *testing.T) {
	n, _ := strconv.Atoi(cmp.Or(os.Getenv(gcVariable), "300"))
	r := newRing(t, time.Hour)
	s := keep(t, r)
	var clients []int
	conns, numbers := make(map[uint64]*conn), make(map[uint64]int)
	for i := range n {
		client, c := connected(t)
		clients = append(clients, client)
		conns[c.cookie], numbers[c.cookie] = c, i
		send(t, client, fmt.Sprintf("hello %d\n", i), i%2*client)
		r.Add(&c.Entry, c.fd, time.Now())
	}
	if err := r.EnlistAll(); err != nil {
		t.Fatal(err)
	}
	collect(t)
	die(r, conns)
	collect(t)
	for i, client := range clients {
		send(t, client, fmt.Sprintf("more %d\n", i), 0)
		if i%3 == 0 {
			_ = unix.Close(client) // it may be in the queue of its other end
		}
	}
	for range 10 {
		collect(t)
	}
	next := s.open(time.Hour)
	defer next.Close()
	found := adopt(t, next)
	if len(found) != n {
		t.Errorf("adopted: got %d connections, want %d", len(found), n)
	}
	buf := make([]byte, 100)
	for cookie, c := range found {
		want, got := fmt.Sprintf("hello %[1]d\nmore %[1]d\n", numbers[cookie]), ""
		for len(got) < len(want) {
			m, err := unix.Read(c.fd, buf)
			if err != nil || m == 0 {
				break
			}
			got += string(buf[:m])
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = unix.Close(c.fd)
	}
	for i, client := range clients {
		if i%3 != 0 {
			_ = unix.Close(client)
		}
	}
}

// connected returns both ends of a connection.
func connected(t *testing.T) (client int, c *conn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pair[0], &conn{fd: pair[1], cookie: cookieOf(t, pair[1])}
}

// send sends text, and with it a descriptor; 0: none.
func send(t *testing.T, fd int, text string, with int) {
	t.Helper()
	var oob []byte
	if with > 0 {
		oob = unix.UnixRights(with)
	}
	if err := unix.Sendmsg(fd, []byte(text), oob, nil, 0); err != nil {
		t.Fatal(err)
	}
}

// collect makes garbage, and returns once the kernel has collected it: with it goes the only
// descriptor to write to a pipe.
func collect(t *testing.T) {
	t.Helper()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	client, c := connected(t)
	if err := unix.Sendmsg(client, []byte{0}, unix.UnixRights(client, c.fd, pipe[1]), nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{client, c.fd, pipe[1]} { // the last close of a socket wakes the collector
		_ = unix.Close(fd)
	}
	for end := time.Now().Add(5 * time.Minute); ; {
		fds := [1]unix.PollFd{{Fd: int32(pipe[0])}}
		if n, err := unix.Poll(fds[:], 100); n > 0 {
			return
		} else if err != nil && err != unix.EINTR || time.Now().After(end) {
			t.Fatalf("the garbage was not collected: %v", err)
		}
		other, c := connected(t) // as others on the machine do
		_, _ = unix.Close(other), unix.Close(c.fd)
	}
}
