package worker

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// tcpPair returns a client and the other end of its connection.
func tcpPair(t *testing.T) (client *net.TCPConn, c conn.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialed.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	fd := -1
	if err == nil {
		err = raw.Control(func(accepted uintptr) { fd, _ = unix.FcntlInt(accepted, unix.F_DUPFD_CLOEXEC, 0) })
	}
	if err != nil || fd < 0 {
		t.Fatalf("duplicate: got %d, %v", fd, err)
	}
	c = conn.NewThread(fd, new(conn.Wakeup))
	t.Cleanup(c.Close)
	return dialed.(*net.TCPConn), c
}
