package servertest

import (
	"io"
	"net"
	"testing"
	"time"
)

// Client is a client in a test. What it is told to do within Patience and cannot fails the test.
type Client struct {
	*net.TCPConn
	t *testing.T
}

// Dial connects to an address; nil stands for a Dialer without settings. The connection is closed
// with the test.
func Dial(t *testing.T, address string, dialer *net.Dialer) *Client {
	t.Helper()
	if dialer == nil {
		dialer = &net.Dialer{}
	}
	dialer.Timeout = Patience
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(Patience))
	return &Client{conn.(*net.TCPConn), t}
}

// Addr returns the client's address as records have it.
func (c *Client) Addr() string { return c.LocalAddr().String() }

// Say sends text.
func (c *Client) Say(text string) {
	c.t.Helper()
	Say(c.t, c, text)
}

// Hear takes what is sent to the client, which has to be text.
func (c *Client) Hear(text string) {
	c.t.Helper()
	Hear(c.t, c, text)
}

// HearEnd takes and returns what is sent to the client until the end of the stream.
func (c *Client) HearEnd() string {
	c.t.Helper()
	return HearEnd(c.t, c)
}

// Refused takes the refusal text, which has to be want, and the end of the stream.
func (c *Client) Refused(want string) {
	c.t.Helper()
	if got := c.HearEnd(); got != want {
		c.t.Errorf("heard %q, want %q", got, want)
	}
}

// Reset breaks the connection off.
func (c *Client) Reset() {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// Say sends text on any connection.
func Say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("say %.40q: %v", text, err)
	}
}

// Hear takes what is sent to a connection, which has to be text.
func Hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("heard %.80q and %v, want %.80q", got[:n], err, text)
	}
}

// HearEnd takes and returns what is sent to a connection until the end of the stream.
func HearEnd(t *testing.T, c net.Conn) string {
	t.Helper()
	rest, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("heard %.80q and %v, want the end of the stream", rest, err)
	}
	return string(rest)
}
