package conn

import (
	"net"
	"os"
	"syscall"
	"testing"
)

func TestTheKernelTellsOfAConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	raw, err := ours.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		i, known := GetTCPInfo(fd)
		if !known || i.State != "established" || i.SendWindow == 0 || i.ReceiveWindow == 0 || i.Unacked != 0 {
			t.Errorf("got %+v and %v, want an established connection with windows", i, known)
		}
	}); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if i, known := GetTCPInfo(null.Fd()); known {
		t.Errorf("of a file: got %+v, want nothing", i)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for n, want := range map[uint8]string{0: "unknown", 1: "established", 8: "close-wait", 12: "new-syn-recv", 13: "unknown", 255: "unknown"} {
		if got := stateName(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
