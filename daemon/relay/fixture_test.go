package relay_test

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// listen returns a listening socket of the kind, TCP or unix, which is closed with the test, and
// how a configuration names it.
func listen(t *testing.T, network string) (net.Listener, string) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/upstream"
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	if network == "unix" {
		return ln, config.UnixScheme + address
	}
	return ln, ln.Addr().String()
}

// accept returns the next connection, with a deadline.
func accept(t *testing.T, ln net.Listener) *net.TCPConn {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(servertest.Patience))
	return c.(*net.TCPConn)
}

// proxy returns a server whose clients are connected with upstreams.
func proxy(t *testing.T, to []string, change func(*config.Listener)) *servertest.Fixture {
	t.Helper()
	return servertest.New(t, func(c *config.Config) {
		l := &c.Listeners[0]
		l.Service, l.Record, l.Model, l.Banner = config.ServiceProxy, false, "goroutine", config.Bytes{}
		l.Proxy = config.Proxy{To: to, ConnectTimeout: servertest.Patience}
		if change != nil {
			change(l)
		}
	}).Open()
}

// hearEnd takes the rest of what is sent to a connection, which has to be text.
func hearEnd(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if got := servertest.HearEnd(t, c); got != text {
		t.Fatalf("heard %.80q, want %.80q and the end", got, text)
	}
}

// crowded returns the address of a listening socket whose backlog is full: who connects waits.
func crowded(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", to, 200*time.Millisecond)
		if err != nil {
			return to
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}
