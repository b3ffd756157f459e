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
	"tcpmux/cmd/internal/secure"
)

// connect connects as o asks for. The handshake of TLS is part of connecting, and so is the reply
// of TCPMUX.
func connect(ctx context.Context, o Options) (secure.Conn, error) {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("connect %q: no answer within %v", o.Address, o.Timeout))
		defer cancel()
	}
	below, err := dial(ctx, o.Address, o.Timeout)
	if err != nil {
		return nil, err
	}
	conn, err := secure.Connect(ctx, below, o.TLS)
	if err == nil && o.Service != "" {
		if err = ask(ctx, conn, o.Service); err != nil {
			_ = conn.Close() // there is no more to say
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("connect %q: %w", o.Address, err)
	}
	return conn, nil
}

// dial connects to a unix socket, or to any of address's addresses, IPv4 and IPv6 side by side (RFC
// 6555). TCP keepalive is on, so that a server that has vanished is noticed.
func dial(ctx context.Context, address string, timeout time.Duration) (secure.Socket, error) {
	d := net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}
	network, where := cli.Network(address)
	conn, err := d.DialContext(ctx, network, where)
	switch {
	case err == nil:
		return conn.(secure.Socket), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("connect %q: no answer within %v", address, timeout)
	case errors.Is(err, syscall.ECONNREFUSED), network == "unix" && errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("connect %q: %w; %s", address, cause(err), hint(address))
	}
	return nil, fmt.Errorf("connect %q: %w", address, cause(err))
}

// hint returns the next step when nobody listens on address.
func hint(address string) string {
	if network, _ := cli.Network(address); network == "unix" {
		return "is the server running, and is this its socket?"
	}
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
