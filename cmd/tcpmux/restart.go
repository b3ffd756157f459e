package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tcpmux/daemon"
	"tcpmux/daemon/systemd"
)

const (
	// announcedFor is how long the announcement of a restart holds.
	announcedFor = 30 * time.Second
	// announcedBy is how long after SIGTERM an announcement may come that was sent before: of two signals that wait, the kernel and
	// Go deliver that of the lower number first.
	announcedBy = 50 * time.Millisecond
)

// announcement hears of a restart before SIGTERM comes, which alone could as well be a stop. The signal is one that a process which
// does not know of it ignores.
type announcement chan os.Signal

func announced() announcement {
	a := make(announcement, 1)
	signal.Notify(a, syscall.SIGWINCH)
	return a
}

// asCause returns a context that ends with ctx, daemon.ErrRestart being a cause when a restart has been announced. end ends it.
func (a announcement) asCause(ctx context.Context) (_ context.Context, end func()) {
	ours, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go a.follow(ctx, cancel, stopped)
	return ours, func() {
		signal.Stop(a)
		close(stopped)
		cancel(nil)
	}
}

func (a announcement) follow(ctx context.Context, cancel context.CancelCauseFunc, stopped <-chan struct{}) {
	var at time.Time
	for {
		select {
		case <-a:
			at = time.Now()
			continue
		case <-stopped:
			return
		case <-ctx.Done():
		}
		if systemd.Notified() && at.IsZero() {
			select {
			case <-a:
				at = time.Now()
			case <-time.After(announcedBy):
			}
		}
		if !at.IsZero() && time.Since(at) < announcedFor {
			cancel(fmt.Errorf("%w: %w", daemon.ErrRestart, context.Cause(ctx)))
			return
		}
		cancel(context.Cause(ctx))
		return
	}
}
