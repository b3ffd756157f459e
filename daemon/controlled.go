package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"tcpmux/config"
	"tcpmux/daemon/control"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/metrics"
	"tcpmux/daemon/server"
)

// controlled is the daemon as requests of the control socket see it, from goroutines of their own.
// What belongs to the goroutine of Run is done there, by a function that it takes from calls.
type controlled struct {
	*daemon // for that goroutine alone

	srv   *server.Server
	files *recordFiles
	disk  diskState
	log   *slog.Logger
	alive func(context.Context) error
	over  <-chan struct{} // closed: nothing is taken any more
}

// errOver reports that the daemon ends.
var errOver = fmt.Errorf("%w: the daemon ends", control.ErrUnavailable)

// control returns the daemon as its control socket sees it.
func (d *daemon) control() *controlled {
	return &controlled{daemon: d, srv: d.srv, files: d.records, log: d.log.Logger, alive: d.alive(), over: d.controls.over}
}

// onRun returns what f returns on the goroutine of Run, or the error of ctx. f is not called once
// ctx is done.
func onRun[T any](ctx context.Context, c *controlled, f func() (T, error)) (value T, err error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	call := func() {
		r := result{err: ctx.Err()}
		defer func() {
			if p := recover(); p != nil {
				c.log.Error("control request failed: a bug, please report it", "panic", p, "stack", string(debug.Stack()))
				r.err = errors.New("a bug of tcpmux: see its log")
			}
			done <- r
		}()
		if r.err == nil {
			r.value, r.err = f()
		}
	}
	select {
	case c.calls <- call:
	case <-c.over:
		return value, errOver
	case <-ctx.Done():
		return value, ctx.Err()
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// answerWhile does what requests of the control socket ask for until f returns, on another
// goroutine, and returns the error of f.
func (d *daemon) answerWhile(f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	for {
		select {
		case err := <-ended:
			return err
		case call := <-d.calls:
			call()
		}
	}
}

// Status returns what the daemon is doing.
func (c *controlled) Status(ctx context.Context) (api.Status, error) {
	var cfg config.Config
	s, err := onRun(ctx, c, func() (api.Status, error) {
		cfg = c.cfg
		return c.apiStatus(), nil
	})
	if err == nil {
		c.disk.fill(&s, cfg)
	}
	return s, err
}

// Sessions returns the sessions that f selects.
func (c *controlled) Sessions(f api.Filter) api.Sessions { return c.srv.Sessions(f) }

// Session returns all about one session.
func (c *controlled) Session(id string) (api.Detail, bool) { return c.srv.Session(id) }

// Kill ends the sessions that f selects.
func (c *controlled) Kill(f api.Filter) int { return c.srv.Kill(f) }

// Drain has a listener refuse new clients, or let them in again.
func (c *controlled) Drain(ctx context.Context, listener string, on bool) (api.Drained, error) {
	return onRun(ctx, c, func() (api.Drained, error) {
		n, ok := c.srv.Drain(listener, on)
		if !ok {
			return api.Drained{}, fmt.Errorf("listener %q: %w", listener, control.ErrNotFound)
		}
		return api.Drained{Listener: listener, Draining: on, Clients: n}, nil
	})
}

// Rotate rotates the record files, not on the goroutine of Run, which a disk must not make hang.
func (c *controlled) Rotate(context.Context) (api.Rotated, error) {
	files, err := c.files.rotate()
	return api.Rotated{Files: append([]string{}, files...)}, err
}

// Reload puts the configuration of the file in force, and returns its faults or what has changed.
func (c *controlled) Reload(ctx context.Context) (api.Reloaded, error) {
	return onRun(ctx, c, func() (api.Reloaded, error) {
		if c.phase != serving || c.load == nil {
			return api.Reloaded{}, fmt.Errorf("%w: the daemon is %v", control.ErrUnavailable, c.phase)
		}
		// One who goes does not keep it from being finished.
		c.reload(context.WithoutCancel(ctx), c.load)
		answer := api.Reloaded{Faults: linesOf(c.fault), Changes: []api.Change{}}
		if c.fault == nil {
			for _, change := range c.changes {
				answer.Changes = append(answer.Changes,
					api.Change{Key: change.Title(), From: change.From, To: change.To, Effect: string(change.Effect)})
			}
		}
		return answer, nil
	})
}

// Tail follows the records of the sessions that f selects.
func (c *controlled) Tail(f api.Filter) control.Subscription { return c.srv.Tail(f) }

// Alive returns nil once every accept loop and the sink have proved that they are alive.
func (c *controlled) Alive(ctx context.Context) error { return c.alive(ctx) }

// Metrics writes the metrics.
func (c *controlled) Metrics(ctx context.Context, w io.Writer) error {
	var cfg config.Config
	snapshot, err := onRun(ctx, c, func() (*metrics.Snapshot, error) {
		cfg = c.cfg
		return c.snapshot(), nil
	})
	if err != nil {
		return err
	}
	c.disk.fill(&snapshot.Status, cfg)
	return metrics.Write(w, snapshot)
}
