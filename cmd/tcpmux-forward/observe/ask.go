package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
)

// SystemdPath is the control socket of the unit.
const SystemdPath = "/run/tcpmux-forward/control"

// ErrNotRunning reports that no forwarder listens at the control socket.
var ErrNotRunning = errors.New("not running")

// askTimeout is how long a forwarder may take to answer.
const askTimeout = 10 * time.Second

// maxAnswer bounds an answer.
const maxAnswer = 8 << 20

// SocketPath returns where a forwarder has its control socket: in the directory that systemd has
// made for it (systemd.exec(5), RuntimeDirectory=), otherwise in its state directory.
func SocketPath(state string) string {
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, "control")
	}
	return filepath.Join(state, "control")
}

// Ask returns the status of the forwarder with the control socket at path. The error is one line,
// and ErrNotRunning if there is none.
func Ask(ctx context.Context, path string) (s api.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	transport := &http.Transport{DialContext: dial, DisableCompression: true, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tcpmux-forward/v1/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return s, explain(ctx, path, err)
	}
	defer resp.Body.Close() // it was read
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("ask %q: it answers %q: is it the control socket of tcpmux-forward?", path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&s); err != nil {
		return s, explain(ctx, path, err)
	}
	return s, nil
}

// explain returns what an error of a request means to a person.
func explain(ctx context.Context, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens on %q", ErrNotRunning, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("connect to %q: %w: want root or a member of group adm", path, fs.ErrPermission)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("ask %q: no answer within %v: see journalctl -u tcpmux-forward", path, askTimeout)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("ask %q: %w", path, err)
}
