package daemon

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// kernelHolds waits until the server's socket of the one client has n bytes that were not taken from it.
func (d *desk) kernelHolds(n int) {
	d.t.Helper()
	got := -1
	eventually(d.t, func() bool {
		d.onlySession().model.control(func(fd uintptr) { got = unread(fd) })
		return got == n
	}, func() { d.t.Errorf("bytes in the socket: got %d, want %d", got, n) })
}

func (d *desk) onlySession() *session {
	d.t.Helper()
	d.awaitClients(1)
	d.srv.mu.Lock()
	defer d.srv.mu.Unlock()
	for s := range d.srv.sessions {
		return s
	}
	return nil
}

// TestAMessageIsTakenOnceItIsWritten, and no sooner: who dies in between leaves it to the next process.
func TestAMessageIsTakenOnceItIsWritten(t *testing.T) {
	d := newDesk(t, nil).open()
	conn := d.greeted()
	d.records(" open from ")
	resume := d.out.hang()
	defer resume()
	writes := d.out.begun()
	conn.say("one\ntwo\nhalf")
	eventually(t, func() bool { return d.out.begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	d.kernelHolds(len("one\ntwo\nhalf"))
	resume()
	d.records(": one\n", ": two\n")
	d.kernelHolds(len("half"))
	conn.say(" a line\n")
	d.records(": half a line\n")
	d.kernelHolds(0)
}

func TestALongMessageDoesNotWaitInTheKernel(t *testing.T) {
	d := newDesk(t, nil).open()
	conn := d.greeted()
	long := strings.Repeat("x", moveSize+1)
	conn.say(long)
	d.kernelHolds(0)
	conn.say(long + "\nhalf")
	d.records(": "+long+long+"\n", "")
	d.kernelHolds(len("half"))
}

// TestAReceiveBufferMayBeSmall: a message that does not fit is moved out of it, whatever its size.
func TestAReceiveBufferMayBeSmall(t *testing.T) {
	d := newDesk(t, nil)
	if err := d.ln.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) }); err != nil {
		t.Fatal(err)
	}
	d.open()
	conn := d.greeted()
	long := strings.Repeat("x", moveSize-1)
	conn.say(long + "\n")
	d.records(": " + long + "\n")
}

// TestBytesBehindAnUrgentOneAreSeen: a look ends at it, and would for ever show half a message.
func TestBytesBehindAnUrgentOneAreSeen(t *testing.T) {
	d := newDesk(t, nil).open()
	conn := d.greeted()
	conn.say("half")
	d.kernelHolds(len("half"))
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	if err != nil {
		t.Fatal(err)
	}
	conn.say(" a line\nrest")
	d.records(": half! a line\n")
	_ = conn.CloseWrite()
	d.records(" [eof]: rest\n", ": eof, 2 records, 17 bytes\n")
}

// TestNobodyIsWokenByHalfALine that was seen: poll(2), by which a thread waits, would return at once.
func TestNobodyIsWokenByHalfALine(t *testing.T) {
	d := newDesk(t, nil).open()
	conn := d.greeted()
	for _, c := range []struct {
		say  string
		want int
	}{{"half", len("half") + 1}, {" more", len("half more") + 1}, {"\n", 1}} {
		conn.say(c.say)
		got := -1
		eventually(t, func() bool {
			d.onlySession().model.control(func(fd uintptr) { got, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT) })
			return got == c.want
		}, func() { t.Errorf("after %q: SO_RCVLOWAT: got %d, want %d", c.say, got, c.want) })
	}
	d.records(": half more\n")
}

// TestDiscardTakesWhatTheKernelWouldCopy: Unix sockets know no MSG_TRUNC.
func TestDiscardTakesWhatTheKernelWouldCopy(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, out := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
	defer in.Close()
	defer out.Close()
	if _, err := out.WriteString(strings.Repeat("x", 5000) + "rest"); err != nil {
		t.Fatal(err)
	}
	if err := discard(uintptr(pair[0]), 5000); err != nil {
		t.Fatal(err)
	}
	var buf [10]byte
	n, err := peek(uintptr(pair[0]), buf[:])
	if got := string(buf[:max(n, 0)]); got != "rest" {
		t.Errorf("got %q, %v, want %q", got, err, "rest")
	}
}
