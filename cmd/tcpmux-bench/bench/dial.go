package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialer connects to one server.
type dialer struct {
	address  string
	loopback bool // 127.0.0.0/8: any address of it can be ours
	dialed   atomic.Int64
}

func newDialer(address string) *dialer {
	to, err := netip.ParseAddrPort(address)
	return &dialer{address: address, loopback: err == nil && to.Addr().Is4() && to.Addr().IsLoopback()}
}

// Each source address serves so many connections before the next one does, and there are so many of them. A kernel offers
// some 28,000 ports for each (ip_local_port_range), of which those of the last minute are still taken (TIME_WAIT).
const (
	perSource = 20_000
	sources   = 200
)

func (d *dialer) dial(ctx context.Context, deadline time.Time) (net.Conn, error) {
	// No keepalive: it would be three system calls for connections that are watched anyway.
	nd := net.Dialer{Deadline: deadline, KeepAlive: -1}
	if d.loopback {
		n := (d.dialed.Add(1) - 1) / perSource % sources
		nd.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n))}
		nd.Control = portAtConnect
	}
	return nd.DialContext(ctx, "tcp", d.address)
}

// portAtConnect leaves the choice of the port to connect(2), which knows the destination and so finds more that are free.
func portAtConnect(_, _ string, raw syscall.RawConn) error {
	var serr error
	err := raw.Control(func(fd uintptr) {
		serr = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	})
	return errors.Join(err, serr)
}

// ErrRemote is the error of a server on another machine.
var ErrRemote = errors.New("bench puts a load on this machine only; --allow-remote puts it on another, whose owner should know")

// target is the one address that is measured: the host is looked up once, and refused unless all its addresses are here.
func target(ctx context.Context, o Options) (string, error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return "", err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return "", err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	if !o.AllowRemote {
		for _, ip := range ips {
			if !ip.Unmap().IsLoopback() {
				return "", fmt.Errorf("%q is %v: %w", o.Address, ip.Unmap(), ErrRemote)
			}
		}
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(number)).String(), nil
}
