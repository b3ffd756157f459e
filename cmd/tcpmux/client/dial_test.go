package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"tcpmux/cmd/internal/cli"
)

// unused returns an address of 127.0.0.1 where nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestDialErrors(t *testing.T) {
	enough := errors.New("enough")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	for _, c := range []struct {
		name    string
		ctx     context.Context
		address string
		timeout time.Duration
		want    string
	}{
		{"refused", t.Context(), unused(t), 0, "connection refused; is the server running, and on this port?"},
		{"timeout", t.Context(), unused(t), 1, "no answer within 1ns"},
		{"ended", ended, unused(t), 0, "enough"},
		{"no such host", t.Context(), "no-such-host.invalid:1", 0, `connect "no-such-host.invalid:1": lookup no-such-host.invalid`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := dial(c.ctx, c.address, c.timeout)
			check(t, err, c.want)
		})
	}
}

func TestHint(t *testing.T) {
	const ours, here, there = "is the server running? (systemctl start tcpmux.socket)", "is the server running, and on this port?", "is the server running there, and on this port?"
	for address, want := range map[string]string{
		cli.DefaultAddress: ours, "localhost:12345": ours, "localhost:1": here, "[::1]:1": here, "[::1]:12345": here, "127.0.0.9:1": here,
		"10.0.0.1:12345": there, "10.0.0.1:1": there, "example.org:1": there,
	} {
		if got := hint(address); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}
