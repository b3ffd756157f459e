package conn_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/conn/conntest"
	"tcpmux/internal/await"
)

// patience is how long a test waits for what must come. Only a failing test waits that long.
const patience = 5 * time.Minute

// pair is a connection, and what a test needs of its other end.
type pair struct {
	conn.Conn
	client
	ring func() // after Wake and Expire
}

// client is the other end of a connection.
type client interface {
	send(text string)
	sendUrgent(b byte)
	sendEnd()
	reset()
	receive(n int) string // waits for n bytes
	receiveEnd() string   // waits for the end
	setTaking(on bool)    // off: what is written to it waits once the buffers are full
}

// kinds are the implementations of conn.Conn, each with what makes a pair of it.
var kinds = map[string]func(t *testing.T) *pair{
	"poll": func(t *testing.T) *pair {
		client, fd := tcpPair(t)
		return &pair{newPoll(t, fd), client, func() {}}
	},
	"thread": func(t *testing.T) *pair {
		client, fd := tcpPair(t)
		var w conn.Wakeup
		return &pair{conn.NewThread(fd, &w), client, func() {
			if err := w.Ring(); err != nil {
				t.Error(err)
			}
		}}
	},
	"conntest": func(t *testing.T) *pair {
		c := conntest.New()
		return &pair{c, &fakeClient{t: t, Conn: c}, func() {}}
	},
}

// everyKind runs a test with each implementation.
func everyKind(t *testing.T, test func(t *testing.T, p *pair)) {
	t.Helper()
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			t.Cleanup(p.Close)
			test(t, p)
		})
	}
}

func newPoll(t *testing.T, fd int) *conn.Poll {
	t.Helper()
	p, err := conn.NewPoll(fd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tcpPair returns both ends of a connection. The descriptor is the caller's.
func tcpPair(t *testing.T) (c *tcpClient, fd int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	_ = near.SetDeadline(time.Now().Add(patience))
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	control(t, far.(*net.TCPConn), func(it int) error {
		var cerr error
		fd, cerr = unix.FcntlInt(uintptr(it), unix.F_DUPFD_CLOEXEC, 0)
		return errors.Join(cerr, unix.SetsockoptInt(it, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1))
	})
	return &tcpClient{t, near.(*net.TCPConn)}, fd
}

// control calls f with a connection's descriptor.
func control(t *testing.T, c *net.TCPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ferr error
	if err := errors.Join(raw.Control(func(fd uintptr) { ferr = f(int(fd)) }), ferr); err != nil {
		t.Fatal(err)
	}
}

// tcpClient implements client.
type tcpClient struct {
	t *testing.T
	*net.TCPConn
}

func (c *tcpClient) send(text string) {
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Errorf("send %.40q: %v", text, err)
	}
}

func (c *tcpClient) sendUrgent(b byte) {
	control(c.t, c.TCPConn, func(fd int) error { return unix.Sendto(fd, []byte{b}, unix.MSG_OOB, nil) })
}

func (c *tcpClient) sendEnd() { _ = c.CloseWrite() }

func (c *tcpClient) reset() {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (c *tcpClient) receive(n int) string {
	buf := make([]byte, n)
	if _, err := io.ReadFull(c, buf); err != nil {
		c.t.Errorf("receive: %v", err)
	}
	return string(buf)
}

func (c *tcpClient) receiveEnd() string {
	text, err := io.ReadAll(c)
	if err != nil {
		c.t.Errorf("received %.80q and %v, want the end", text, err)
	}
	return string(text)
}

// setTaking implements client: what is taken here is received by nobody.
func (c *tcpClient) setTaking(on bool) {
	if on {
		go func() { _, _ = io.Copy(io.Discard, c) }() // it ends with the connection
	}
}

// fakeClient implements client.
type fakeClient struct {
	t *testing.T
	*conntest.Conn
	received int
}

func (c *fakeClient) send(text string)  { c.Send(text) }
func (c *fakeClient) sendUrgent(b byte) { c.SendUrgent(b) }
func (c *fakeClient) sendEnd()          { c.SendEnd() }
func (c *fakeClient) reset()            { c.Break(unix.ECONNRESET) }

func (c *fakeClient) receive(n int) string {
	eventually(c.t, func() bool { return len(c.Received()) >= c.received+n })
	from := c.received
	c.received += n
	return c.Received()[from:c.received]
}

func (c *fakeClient) receiveEnd() string {
	eventually(c.t, c.WriteClosed)
	return c.Received()[c.received:]
}

func (c *fakeClient) setTaking(on bool) {
	if on {
		c.SetRoom(1 << 30)
		return
	}
	c.SetRoom(1 << 10)
}

// eventually waits until holds returns true.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	await.Until(t, holds, func() { t.Error("it never comes") })
}

// result waits for what do returns.
func result(t *testing.T, do func() error) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	return next(t, ended)
}

// next waits for what is sent to a channel.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("it never comes")
		panic("unreachable")
	}
}

// peek waits until there is something to see, or an end or an error, and returns at most n bytes.
func (p *pair) peek(t *testing.T, n int) (string, error) {
	t.Helper()
	buf := make([]byte, n)
	var got int
	var err error
	if werr := result(t, func() error {
		return p.Wait(func() bool { got, err = p.Peek(buf); return err != unix.EAGAIN })
	}); werr != nil {
		t.Fatalf("wait: %v", werr)
	}
	return string(buf[:max(got, 0)]), err
}

// awaitUnread waits until n bytes have arrived.
func (p *pair) awaitUnread(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() bool { return p.Unread() == n })
}

// never is a try of Wait that is not satisfied by what it sees.
func never() bool { return false }

// isDeadline fails the test unless err is what ends a wait.
func isDeadline(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}
