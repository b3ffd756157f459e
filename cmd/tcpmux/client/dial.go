package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"tcpmux/cmd/internal/cli"
)

// dial connects to any of address's addresses, IPv4 and IPv6 side by side (RFC 6555). TCP keepalive
// is on, so that a server that has vanished is noticed.
func dial(ctx context.Context, address string, timeout time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	switch {
	case err == nil:
		return conn.(*net.TCPConn), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("connect %q: no answer within %v", address, timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("connect %q: %w; %s", address, cause(err), hint(address))
	}
	return nil, fmt.Errorf("connect %q: %w", address, cause(err))
}

// hint returns the next step when nobody listens on address.
func hint(address string) string {
	host, port, _ := net.SplitHostPort(address) // address comes from Address
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "is the server running there, and on this port?"
	}
	if address == cli.DefaultAddress || address == net.JoinHostPort("localhost", port) && strings.HasSuffix(cli.DefaultAddress, ":"+port) {
		return "is the server running? (systemctl start tcpmux.socket)"
	}
	return "is the server running, and on this port?"
}

// cause removes what packages net and os wrap around an error: the message here names operation and
// object itself.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}
