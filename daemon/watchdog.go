package daemon

import (
	"context"
	"time"

	"tcpmux/daemon/systemd"
)

// feedWatchdog tells the service manager that the daemon is alive, each time that alive has
// returned nil, until it returns an error or ctx is done. If alive hangs, the watchdog starves.
func (n *notifier) feedWatchdog(ctx context.Context, alive func(context.Context) error) {
	interval, err := systemd.WatchdogInterval()
	if err != nil {
		n.log.Warn("watchdog is off", "err", err)
	}
	if interval <= 0 {
		return
	}
	tick := time.NewTicker(max(interval/3, time.Millisecond))
	defer tick.Stop()
	for alive(ctx) == nil {
		n.notify("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// alive returns a function that returns nil once every accept loop has answered and every sink
// has returned from a write. Its error is that of ctx. It may be called after close.
func (d *daemon) alive() func(ctx context.Context) error {
	srv, records := d.srv, d.records
	return func(ctx context.Context) error {
		if err := srv.Ping(ctx); err != nil {
			return err
		}
		return records.ping(ctx)
	}
}
