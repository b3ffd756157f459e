package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"syscall"
	"time"
)

// Errors that callers tell apart by errors.Is.
var (
	// ErrNotRunning reports that nobody listens at the control socket.
	ErrNotRunning = errors.New("tcpmux is not running")
	// ErrDenied reports that the caller may not connect, or may not do what was asked for.
	ErrDenied = errors.New("permission denied")
	// ErrNotFound reports that there is no such session or listener.
	ErrNotFound = errors.New("not found")
	// ErrNoAnswer reports that the daemon does not answer in time, or not yet.
	ErrNoAnswer = errors.New("the daemon does not answer")
	// ErrRestart is the end of a tail because the daemon leaves: another process follows, or
	// none.
	ErrRestart = errors.New("the daemon restarts or ends")
)

// Error is an answer of the daemon that reports an error.
type Error struct {
	// Status is the status of HTTP.
	Status int
	// Text is one line.
	Text string
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Is reports whether target is the error for the status.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusForbidden:
		return target == ErrDenied
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return target == ErrNoAnswer
	}
	return false
}

// errSilent returns the error of a daemon that has not answered within the limit.
func errSilent(limit time.Duration) error {
	return fmt.Errorf("%w within %v: see journalctl -u tcpmux.service", ErrNoAnswer, limit)
}

// explain returns what an error of a request means to a person.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens on %q: start it with systemctl start tcpmux.socket, "+
			"or name its control socket", ErrNotRunning, c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: connect to %q: want root or a member of group adm", ErrDenied, c.path)
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%w: too many connections wait at %q", ErrNoAnswer, c.path)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: it has closed the connection, as when it restarts: try again", ErrNoAnswer)
	}
	return fmt.Errorf("ask the daemon at %q: %w", c.path, unwrapURL(err))
}

// unwrapURL removes the made-up URL that net/http puts in front of an error.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
