//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// dialer opens connections from within a rig's network: a socket belongs for good to the network of
// the thread that made it, so one thread that has moved there makes them all. Its methods may be
// called from any goroutine; close is called once.
type dialer struct{ calls chan func() }

// newDialer returns a dialer for the network of the process leader.
func newDialer(leader int) (*dialer, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", leader))
	if err != nil {
		return nil, err
	}
	d := &dialer{calls: make(chan func())}
	moved := make(chan error)
	go d.run(ns, moved)
	if err := <-moved; err != nil {
		return nil, fmt.Errorf("enter the network of %d: %w", leader, err)
	}
	return d, nil
}

// run is the thread's goroutine. It never unlocks the thread, so that the runtime ends it: no other
// goroutine may run there.
func (d *dialer) run(ns *os.File, moved chan<- error) {
	runtime.LockOSThread()
	err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
	_ = ns.Close() // it was only read
	moved <- err
	if err != nil {
		return
	}
	for call := range d.calls {
		call()
	}
}

// from returns a local address for the clients of one port, so that two simultaneous connections
// never share an address: text records tell clients apart by address, and do not name the listener.
// All of 127.0.0.0/8 belongs to the machine. nil leaves the choice to the kernel.
func from(addr string) net.Addr {
	to, err := netip.ParseAddrPort(addr)
	if err != nil || !to.Addr().Is4() {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, byte(to.Port()>>8), byte(to.Port()), 1)}
}

// dial connects to an IP address and port.
func (d *dialer) dial(addr string) (conn *net.TCPConn, err error) {
	return d.dialFrom(from(addr), addr)
}

// dialFrom is dial from a local address; nil leaves the choice to the kernel.
func (d *dialer) dialFrom(local net.Addr, addr string) (conn *net.TCPConn, err error) {
	done := make(chan struct{})
	d.calls <- func() {
		defer close(done)
		var c net.Conn
		if c, err = (&net.Dialer{Timeout: patience, LocalAddr: local}).Dial("tcp", addr); err == nil {
			conn = c.(*net.TCPConn)
		}
	}
	<-done
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(2 * patience))
	}
	return conn, err
}

func (d *dialer) close() { close(d.calls) }
