package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"tcpmux/daemon/record"
	"tcpmux/daemon/systemd"
)

// statusInterval is how often the service manager is told what changed.
const statusInterval = time.Second

// status is the line that systemctl status shows.
func status(srv *Server, sink *record.Sink) string {
	line := fmt.Sprintf("STATUS=%d clients, %d records", srv.Clients(), srv.Records())
	if sink.Failing() {
		line += "; records cannot be written, clients wait"
	}
	return line
}

// tellStatus keeps the service manager's status line up to date until ctx is done.
func tellStatus(ctx context.Context, srv *Server, sink *record.Sink, log *slog.Logger) {
	if !systemd.Notified() {
		return
	}
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for told := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if line := status(srv, sink); line != told {
			notify(log, line)
			told = line
		}
	}
}

// feedWatchdog tells the service manager that we live, each time that has been proved: every accept loop has turned, and the
// sink has come back from a write. Whatever hangs starves the watchdog.
func feedWatchdog(ctx context.Context, srv *Server, sink *record.Sink, log *slog.Logger) {
	interval, err := systemd.WatchdogInterval()
	if err != nil {
		log.Warn("watchdog is off", "err", err)
	}
	if interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		if srv.Ping(ctx) != nil {
			return // ctx is done
		}
		sink.Ping()
		notify(log, "WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// notify tells the service manager of our state; that it cannot be reached is no reason to stop.
func notify(log *slog.Logger, state ...string) {
	if err := systemd.Notify(state...); err != nil {
		log.Warn("service manager cannot be told", "err", err)
	}
}
