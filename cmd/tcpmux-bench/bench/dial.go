package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/secure"
)

// dialer connects to one server.
type dialer struct {
	address  string
	tls      *tls.Config // nil: clear text
	loopback bool        // in 127.0.0.0/8, where any address can be the source
	dialed   atomic.Int64
}

func newDialer(address string, c *tls.Config) *dialer {
	to, err := netip.ParseAddrPort(address)
	return &dialer{address: address, tls: c, loopback: err == nil && to.Addr().Is4() && to.Addr().IsLoopback()}
}

// On loopback, each of a number of source addresses is used for perSource connections before the
// next one is. The kernel has some 28,000 ports for each address (ip_local_port_range), and keeps a
// used port for a minute (TIME_WAIT).
const (
	perSource = 20_000
	sources   = 200
)

func (d *dialer) dial(ctx context.Context, deadline time.Time) (net.Conn, error) {
	// Keepalive would cost three system calls, and every connection is read anyway.
	nd := net.Dialer{Deadline: deadline, KeepAlive: -1}
	if d.loopback {
		n := (d.dialed.Add(1) - 1) / perSource % sources
		nd.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n))}
		nd.Control = portAtConnect
	}
	network, where := cli.Network(d.address)
	below, err := nd.DialContext(ctx, network, where)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return secure.Connect(ctx, below.(secure.Socket), d.tls)
}

// portAtConnect lets connect(2) choose the source port. Unlike bind(2) it knows the destination,
// and so finds more free ports.
func portAtConnect(_, _ string, raw syscall.RawConn) error {
	var serr error
	err := raw.Control(func(fd uintptr) {
		serr = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	})
	return errors.Join(err, serr)
}

// ErrRemote reports a server on another machine while Options.AllowRemote is not set.
var ErrRemote = errors.New("bench puts a load on this machine only; --allow-remote puts it on another, whose owner should know")

// target returns the address to measure. It looks the host up once, and returns ErrRemote unless
// all of its addresses are on this machine, as a unix socket is.
func target(ctx context.Context, o Options) (string, error) {
	if network, _ := cli.Network(o.Address); network == "unix" {
		return o.Address, nil
	}
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
