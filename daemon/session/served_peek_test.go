package session_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
)

// TestAMessageIsTakenOnceItIsWritten, and no sooner: a process that dies in between leaves it to
// the next one.
func TestAMessageIsTakenOnceItIsWritten(t *testing.T) {
	f, sockets := watched(t, nil)
	f.Open()
	conn := f.Greeted()
	f.AwaitRecords(" open from ")
	resume := f.Out.Hang()
	defer resume()
	writes := f.Out.Begun()
	conn.Say("one\ntwo\nhalf")
	awaitWrite(t, f, writes)
	sockets.awaitUnread(t, len("one\ntwo\nhalf"))
	resume()
	f.AwaitRecords(": one\n", ": two\n")
	sockets.awaitUnread(t, len("half"))
	conn.Say(" a line\n")
	f.AwaitRecords(": half a line\n")
	sockets.awaitUnread(t, 0)
}

func TestALongMessageDoesNotWaitInTheKernel(t *testing.T) {
	f, sockets := watched(t, nil)
	f.Open()
	conn := f.Greeted()
	long := strings.Repeat("x", session.MoveSize+1)
	conn.Say(long)
	sockets.awaitUnread(t, 0)
	conn.Say(long + "\nhalf")
	f.AwaitRecords(": "+long+long+"\n", "")
	sockets.awaitUnread(t, len("half"))
}

// TestAReceiveBufferMayBeSmall: a message that does not fit is moved out of it, whatever its size.
func TestAReceiveBufferMayBeSmall(t *testing.T) {
	f := servertest.New(t, nil)
	raw, err := f.Binding().Listener.File.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	f.Open()
	conn := f.Greeted()
	long := strings.Repeat("x", session.MoveSize-1)
	conn.Say(long + "\n")
	f.AwaitRecords(": " + long + "\n")
}

// TestBytesBehindAnUrgentOneAreSeen, although a peek ends at it and shows half a message.
func TestBytesBehindAnUrgentOneAreSeen(t *testing.T) {
	f, sockets := watched(t, nil)
	f.Open()
	conn := f.Greeted()
	conn.Say("half")
	sockets.awaitUnread(t, len("half"))
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	if err != nil {
		t.Fatal(err)
	}
	conn.Say(" a line\nrest")
	f.AwaitRecords(": half! a line\n")
	_ = conn.CloseWrite()
	f.AwaitRecords(" [eof]: rest\n", ": eof, 2 records, 17 bytes\n")
}

// TestNobodyIsWokenByHalfALine that was seen: poll(2), with which a thread waits, would return at
// once.
func TestNobodyIsWokenByHalfALine(t *testing.T) {
	f, sockets := watched(t, nil)
	f.Open()
	conn := f.Greeted()
	for _, c := range []struct {
		say  string
		want int
	}{{"half", len("half") + 1}, {" more", len("half more") + 1}, {"\n", 1}} {
		conn.Say(c.say)
		sockets.awaitLowWater(t, c.want)
	}
	f.AwaitRecords(": half more\n")
}
