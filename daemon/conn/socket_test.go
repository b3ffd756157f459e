package conn_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// unixPair returns both ends of a connection of a kind that copies even what is discarded.
func unixPair(t *testing.T) (near *os.File, fd int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near = os.NewFile(uintptr(pair[0]), "")
	t.Cleanup(func() { _ = near.Close() })
	return near, pair[1]
}

// TestDiscardTakesWhatTheKernelWouldCopy: Unix sockets know no MSG_TRUNC.
func TestDiscardTakesWhatTheKernelWouldCopy(t *testing.T) {
	near, fd := unixPair(t)
	p := newPoll(t, fd)
	defer p.Close()
	if _, err := near.WriteString(strings.Repeat("x", 5000) + "rest"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Discard(uintptr(fd), 5000); err != nil {
		t.Fatal(err)
	}
	if n := conn.Unread(uintptr(fd)); n != 4 {
		t.Errorf("unread: got %d bytes, want 4", n)
	}
	if got, err := (&pair{Conn: p}).peekNow(); got != "rest" || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, "rest")
	}
	if err := conn.Discard(uintptr(fd), 5); err == nil {
		t.Error("discard of more than has come: got no error")
	}
}

func TestUnreadOfNoSocket(t *testing.T) {
	if n := conn.Unread(^uintptr(0)); n != 0 {
		t.Errorf("got %d, want 0", n)
	}
}

// TestBlockingDescriptor: a program may have made it so, and nothing here waits all the same.
func TestBlockingDescriptor(t *testing.T) {
	client, fd := tcpPair(t)
	var w conn.Wakeup
	p := &pair{Conn: conn.NewThread(fd, &w), client: client}
	defer p.Close()
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	err := result(t, func() error { _, err := p.peekNow(); return err })
	if err != unix.EAGAIN {
		t.Errorf("peek: got %v, want %v", err, unix.EAGAIN)
	}
	if err := result(t, func() error { return p.Discard(1) }); err == nil {
		t.Error("discard of nothing: got no error")
	}
	client.send("unread")
	p.awaitUnread(t, 6)
	_ = result(t, func() error { p.HangUp(); return nil })
}

// TestRefuse: the client gets the text and the end, and no reset, although it has sent something.
func TestRefuse(t *testing.T) {
	for _, text := range []string{"too many clients\r\n", ""} {
		client, fd := tcpPair(t)
		client.send("unread")
		eventually(t, func() bool { return conn.Unread(uintptr(fd)) == 6 })
		conn.Refuse(uintptr(fd), text)
		want := 0
		if text == "" {
			want = 6 // it does nothing
		}
		if n := conn.Unread(uintptr(fd)); n != want {
			t.Errorf("%q: unread: got %d bytes, want %d", text, n, want)
		}
		if err := unix.Close(fd); err != nil {
			t.Errorf("%q: close: %v, want it open until then", text, err)
		}
		if text == "" {
			continue
		}
		if got := client.receiveEnd(); got != text {
			t.Errorf("received %q, want %q", got, text)
		}
	}
}

// TestRefuseWaitsForNobody: a client that has gone, or takes nothing, is refused as well.
func TestRefuseWaitsForNobody(t *testing.T) {
	client, fd := tcpPair(t)
	client.reset()
	eventually(t, func() bool { return conn.Discard(uintptr(fd), 1) != nil })
	_ = result(t, func() error { conn.Refuse(uintptr(fd), "no\n"); return unix.Close(fd) })

	_, fd = tcpPair(t)
	p := &pair{Conn: newPoll(t, fd), client: client}
	defer p.Close()
	_ = fill(t, p)
	_ = result(t, func() error { conn.Refuse(uintptr(fd), strings.Repeat("x", 1<<20)); return nil })
}

func TestHangUpOfADescriptor(t *testing.T) {
	client, fd := tcpPair(t)
	client.send("unread")
	eventually(t, func() bool { return conn.Unread(uintptr(fd)) == 6 })
	conn.HangUp(uintptr(fd))
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
	if got := client.receiveEnd(); got != "" {
		t.Errorf("received %q, want the end", got)
	}
}

func TestSetNoDelay(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.SetNoDelay()
		p.Control(func(fd uintptr) {
			if on, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on != 1 {
				t.Errorf("got %d, %v, want it on", on, err)
			}
		})
	})
}

// TestLocalAddr is the one that the client has connected to.
func TestLocalAddr(t *testing.T) {
	for _, kind := range []string{"poll", "thread"} {
		p := kinds[kind](t)
		defer p.Close()
		if got, want := p.LocalAddr().String(), p.client.(*tcpClient).RemoteAddr().String(); got != want {
			t.Errorf("%s: got %s, want %s", kind, got, want)
		}
	}
}

// TestLoopsAllocateNothing: what every message of every client goes through.
func TestLoopsAllocateNothing(t *testing.T) {
	for _, kind := range []string{"poll", "thread"} {
		t.Run(kind, func(t *testing.T) {
			p := kinds[kind](t)
			defer p.Close()
			buf, text := make([]byte, 16), []byte("x")
			n := 0
			try := func() bool { n, _ = p.Peek(buf); return n > 0 }
			allocs := testing.AllocsPerRun(200, func() {
				_, _ = p.client.(*tcpClient).Write(text)
				if err := p.Wait(try); err != nil {
					t.Error(err)
				}
				_, _ = p.Readable()
				if err := p.Discard(n); err != nil {
					t.Error(err)
				}
			})
			if allocs != 0 {
				t.Errorf("got %v allocations for a message, want 0", allocs)
			}
		})
	}
}
