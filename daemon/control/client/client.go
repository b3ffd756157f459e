// Package client asks a running daemon over its control socket: a method for each path of
// tcpmux-control(7). It promises that each error is one line that says what to do, and that no call
// but Tail waits for longer than its limit, whatever the daemon does.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tcpmux/daemon/control/api"
)

// DefaultPath is where the control socket is under systemd.
const DefaultPath = "/run/tcpmux/control"

// How long the daemon may take to answer.
const (
	readTimeout   = 10 * time.Second
	changeTimeout = 60 * time.Second
)

// dialPause is between two attempts to connect to a socket whose backlog is full.
const dialPause = 20 * time.Millisecond

// maxError bounds how much of an answer that reports an error is read.
const maxError = 64 << 10

// Client asks the daemon at one control socket. It is safe for concurrent use.
type Client struct {
	path string
	http *http.Client
	// How long an answer may take: of a request that changes nothing, and of another.
	read, change time.Duration
}

// Dial returns a client for the control socket at path; "" means DefaultPath. It connects with the
// first request, and again when it has to.
func Dial(path string) *Client {
	if path == "" {
		path = DefaultPath
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	transport := &http.Transport{DialContext: patient(dial), DisableCompression: true, MaxIdleConns: 1}
	return &Client{
		path:   path,
		http:   &http.Client{Transport: transport},
		read:   readTimeout,
		change: changeTimeout,
	}
}

// patient returns dial for an http.Transport. It dials again while the backlog of the socket is
// full, for which a unix socket does not wait (connect(2), EAGAIN), until ctx is done.
func patient(dial func(ctx context.Context) (net.Conn, error)) func(ctx context.Context, _, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			conn, err := dial(ctx)
			if !errors.Is(err, syscall.EAGAIN) {
				return conn, err
			}
			select {
			case <-time.After(dialPause):
			case <-ctx.Done():
				return nil, err
			}
		}
	}
}

// Path returns the path of the control socket.
func (c *Client) Path() string { return c.path }

// Close closes connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns what the daemon is doing.
func (c *Client) Status(ctx context.Context) (s api.Status, err error) {
	return s, c.get(ctx, "/status", nil, &s)
}

// Sessions returns the sessions that match f.
func (c *Client) Sessions(ctx context.Context, f api.Filter) (s api.Sessions, err error) {
	if f.ID != "" {
		return s, errors.New("sessions: a session by its name is asked for with Session")
	}
	return s, c.get(ctx, "/sessions", listQuery(f), &s)
}

// Session returns all about one session. The error is ErrNotFound if there is none.
func (c *Client) Session(ctx context.Context, id string) (d api.Detail, err error) {
	return d, c.get(ctx, "/sessions/"+url.PathEscape(id), nil, &d)
}

// Kill ends the sessions that match f, and returns how many: the one that f names, or those of its
// listener and source. The daemon refuses a filter that has none of these.
func (c *Client) Kill(ctx context.Context, f api.Filter) (int, error) {
	var killed api.Killed
	path, query := "/sessions", killQuery(f)
	if f.ID != "" {
		path, query = path+"/"+url.PathEscape(f.ID), nil
	}
	err := c.do(ctx, http.MethodDelete, path, query, &killed)
	return killed.Killed, err
}

// KillAll ends all sessions, and returns how many.
func (c *Client) KillAll(ctx context.Context) (int, error) {
	var killed api.Killed
	err := c.do(ctx, http.MethodDelete, "/sessions", url.Values{"all": {"true"}}, &killed)
	return killed.Killed, err
}

// Drain has a listener refuse new clients; those that are there may finish.
func (c *Client) Drain(ctx context.Context, listener string) (d api.Drained, err error) {
	return d, c.do(ctx, http.MethodPost, "/listeners/"+url.PathEscape(listener)+"/drain", nil, &d)
}

// Undrain has a listener let clients in again.
func (c *Client) Undrain(ctx context.Context, listener string) (d api.Drained, err error) {
	return d, c.do(ctx, http.MethodPost, "/listeners/"+url.PathEscape(listener)+"/undrain", nil, &d)
}

// Rotate rotates the record files.
func (c *Client) Rotate(ctx context.Context) (r api.Rotated, err error) {
	return r, c.do(ctx, http.MethodPost, "/rotate", nil, &r)
}

// Reload puts the configuration in its file in force, and returns its faults or what has changed.
func (c *Client) Reload(ctx context.Context) (r api.Reloaded, err error) {
	return r, c.do(ctx, http.MethodPost, "/reload", nil, &r)
}

// Tail calls each with every record of the sessions that match f's ID, Listener and Source, until
// ctx is done, each returns an error, or the daemon ends. It returns that error; ErrRestart if the
// daemon said that it leaves.
func (c *Client) Tail(ctx context.Context, f api.Filter, each func(api.Record) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(c.read, func() { cancel(errSilent(c.read)) })
	resp, err := c.request(ctx, http.MethodGet, "/tail", tailQuery(f))
	if !limit.Stop() && err == nil {
		_ = resp.Body.Close() // it was read
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close() // it was read
	for dec := json.NewDecoder(resp.Body); ; {
		var rec api.Record
		switch err := dec.Decode(&rec); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("tail: the daemon has ended or closed the connection: %w", err)
		case rec.Kind == api.KindRestart:
			return ErrRestart
		}
		if err := each(rec); err != nil {
			return err
		}
	}
}

// get asks for a resource and decodes it.
func (c *Client) get(ctx context.Context, path string, query url.Values, answer any) error {
	return c.do(ctx, http.MethodGet, path, query, answer)
}

// do sends a request and decodes the answer within the time limit.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, answer any) error {
	limit := c.read
	if method != http.MethodGet {
		limit = c.change
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSilent(limit))
	defer cancel()
	resp, err := c.request(ctx, method, path, query)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // it was read
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return c.explain(ctx, fmt.Errorf("read answer to %s %s: %w", method, path, err))
	}
	return nil
}

// request sends a request and returns the answer if it is a good one.
func (c *Client) request(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	u := "http://tcpmux/" + api.Version + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close() // it was read
	return nil, c.failure(ctx, resp)
}

// failure returns the error that an answer reports.
func (c *Client) failure(ctx context.Context, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		return c.explain(ctx, err)
	}
	var answer api.Error
	if json.Unmarshal(text, &answer) != nil || answer.Error == "" {
		first, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
		answer.Error = fmt.Sprintf("%s: %.200q", resp.Status, first)
	}
	return &Error{Status: resp.StatusCode, Text: strings.ReplaceAll(answer.Error, "\n", "; ")}
}

// listQuery returns the query of a list of sessions.
func listQuery(f api.Filter) url.Values {
	query := killQuery(f)
	if f.Idle != 0 {
		query.Set("idle", strconv.FormatFloat(f.Idle, 'f', -1, 64))
	}
	if f.MinBytes != 0 {
		query.Set("min_bytes", strconv.FormatInt(f.MinBytes, 10))
	}
	set(query, "sort", f.Sort)
	if f.Limit != 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	return query
}

func killQuery(f api.Filter) url.Values {
	query := url.Values{}
	set(query, "listener", f.Listener)
	set(query, "source", f.Source)
	return query
}

func tailQuery(f api.Filter) url.Values {
	query := killQuery(f)
	set(query, "session", f.ID)
	return query
}

func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}
