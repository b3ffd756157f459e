package upstream

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"tcpmux/config"
)

// hopTo connects a client of a listener, whose ends are ends, with ln, and returns the ends that
// the client of a listener at ln has.
func hopTo(t *testing.T, ln net.Listener, ends Ends) (Conn, Ends) {
	t.Helper()
	c, err := dialer(config.Proxy{To: []string{ln.Addr().String()}}, nil).Dial(t.Context(), ends)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	next, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Close() })
	return c, Ends{Peer: next.RemoteAddr().(*net.TCPAddr).AddrPort(), Server: next.LocalAddr().(*net.TCPAddr).AddrPort()}
}

// TestALoopByWayOfOthers ends where it comes to a listener again.
func TestALoopByWayOfOthers(t *testing.T) {
	a, _ := listen(t)
	b, _ := listen(t)
	_, ends := hopTo(t, b, Ends{Listener: "a"})
	ends.Listener = "b"
	last, ends := hopTo(t, a, ends)

	ends.Listener = "c" // which is at the address too: a mux has both
	other, _ := hopTo(t, b, ends)
	other.Close()

	ends.Listener = "a"
	d := dialer(config.Proxy{To: []string{b.Addr().String()}}, nil)
	_, err := d.Dial(t.Context(), ends)
	if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Loop || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("got %v, want a loop by way of a and b", err)
	}

	last.Close()
	c, err := d.Dial(t.Context(), ends)
	if err != nil {
		t.Fatalf("from a port that was ours before: got %v", err)
	}
	c.Close()
}

// TestFailedConnectionsAreForgotten, and those that have ended.
func TestFailedConnectionsAreForgotten(t *testing.T) {
	ln, _ := listen(t)
	noted := func() (n int) {
		own.all.Range(func(any, any) bool { n++; return true })
		return n
	}
	before := noted()
	c, _ := hopTo(t, ln, Ends{Listener: "a"})
	if noted() != before+1 {
		t.Error("the connection is not noted")
	}
	c.Close()
	closed, _ := listen(t)
	_ = closed.Close()
	for _, to := range []config.Proxy{
		{To: []string{closed.Addr().String()}},
		{To: []string{ln.Addr().String()}, TLS: true, CA: "/no/such/file"},
	} {
		if _, err := dialer(to, nil).Dial(t.Context(), Ends{Listener: "a"}); err == nil {
			t.Error("got a connection")
		}
	}
	if noted() != before {
		t.Errorf("%d connections are noted, want %d", noted(), before)
	}
}

// TestNoAddressIsThisMachine: connect(2) takes it so, and names in DNS are blocked by it.
func TestNoAddressIsThisMachine(t *testing.T) {
	_, port := listen(t)
	for _, ip := range []string{"0.0.0.0", "::ffff:0.0.0.0"} {
		d := dialer(config.Proxy{To: []string{"app:" + port}}, map[string][]string{"app": {ip}})
		_, err := d.Dial(t.Context(), Ends{Server: netip.MustParseAddrPort("127.0.0.1:" + port)})
		if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Loop {
			t.Errorf("%s: got %v, want a loop", ip, err)
		}
	}
}
