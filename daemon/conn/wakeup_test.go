package conn_test

import (
	"os"
	"runtime"
	"testing"

	"tcpmux/daemon/conn"
)

// TestARingIsForAllThreads, each of which looks at what was set for it alone.
func TestARingIsForAllThreads(t *testing.T) {
	const n = 20
	var w conn.Wakeup
	if err := w.Ring(); err != nil {
		t.Errorf("with no thread: %v", err)
	}
	ended := make(chan int, n)
	var conns [n]*conn.Thread
	for i := range conns {
		_, fd := tcpPair(t)
		conns[i] = conn.NewThread(fd, &w)
		go func() {
			_ = conns[i].Wait(never)
			ended <- i
			conns[i].Close()
		}()
	}
	for i := range n - 1 {
		conns[i].Wake()
		if err := w.Ring(); err != nil {
			t.Error(err)
		}
		if got := next(t, ended); got != i {
			t.Errorf("got the end of %d, want that of %d", got, i)
		}
	}
	conns[n-1].Wake()
	select {
	case <-ended:
		t.Error("woken without a ring, want it to wait for that")
	default:
	}
	if err := w.Ring(); err != nil {
		t.Error(err)
	}
	_ = next(t, ended)
}

// TestRingsLeaveNoDescriptors, however many there were.
func TestRingsLeaveNoDescriptors(t *testing.T) {
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	_, fd := tcpPair(t)
	var w conn.Wakeup
	p := conn.NewThread(fd, &w)
	defer p.Close()
	p.Expire()
	_ = p.Wait(never) // it makes the first
	before := open()
	for range 100 {
		if err := w.Ring(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait(never)
	}
	eventually(t, func() bool {
		runtime.GC() // closes those that nobody polls any longer
		return open() <= before
	})
}
