package daemon

import (
	"context"
	"fmt"
	"time"

	"tcpmux/daemon/systemd"
)

// statusInterval is how often the service manager is told what changed.
const statusInterval = time.Second

// status is the line that systemctl status shows.
func (d *daemon) status() string {
	line := fmt.Sprintf("STATUS=%s, %s", counted(int64(d.srv.Clients()), "client"), counted(d.srv.Records(), "record"))
	if d.doing != "" {
		line = fmt.Sprintf("STATUS=%s, %s, %d may finish first", d.doing, counted(int64(d.srv.Clients()), "client"), d.srv.Finishing())
	}
	if n := d.srv.refusals.count(); n > 0 {
		line += fmt.Sprintf(", %d refused", n)
	}
	line += d.srv.survival.describe()
	if d.sink.Failing() {
		line += "; records cannot be written, clients wait"
	}
	if d.rules.faulty() {
		line += "; rules are not those of their file"
	}
	return line + d.troubles.String() + d.faults()
}

// counted is a number of things: "1 client", "2 clients".
func counted(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// feedWatchdog tells the service manager that we live, each time that has been proved: every accept loop has turned, and the
// sink has come back from a write. Whatever hangs starves the watchdog.
func (d *daemon) feedWatchdog(ctx context.Context) {
	interval, err := systemd.WatchdogInterval()
	if err != nil {
		d.log.Warn("watchdog is off", "err", err)
	}
	if interval <= 0 {
		return
	}
	tick := time.NewTicker(max(interval/3, time.Millisecond))
	defer tick.Stop()
	for {
		if d.srv.Ping(ctx) != nil {
			return // ctx is done
		}
		d.sink.Ping()
		d.notify("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// notify tells the service manager of our state; that it cannot be reached is no reason to stop.
func (d *daemon) notify(state ...string) {
	err := systemd.Notify(state...)
	if err != nil && !d.mute.Swap(true) {
		d.log.Warn("service manager cannot be told", "err", err)
	}
	if err == nil {
		d.mute.Store(false)
	}
}
