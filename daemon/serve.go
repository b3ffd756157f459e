package daemon

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"tcpmux/daemon/handover"
	"tcpmux/daemon/logging"
)

// statusInterval is how often the daemon checks what changes by itself: the status line, files of
// rules, and listeners that could not be served.
const statusInterval = time.Second

// serve keeps the service manager's status line up to date and does what is requested, until ctx is
// done. It returns early with a takeover when another program is to take this one's place.
func (d *daemon) serve(ctx context.Context, requests Requests) *handover.Takeover {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	sent := ""
	for ctx.Err() == nil { // a request that arrives together with the end is not begun
		select {
		case <-ctx.Done():
			return nil
		case load := <-requests.Reload:
			d.reload(ctx, load)
		case p := <-requests.Upgrade:
			if t := d.prepareTakeover(p); t != nil {
				return t
			}
		case <-requests.Reopen:
			d.reopen()
		case call := <-d.calls:
			call()
		case <-tick.C:
		}
		if d.phase == serving { // later, no listener begins to accept
			d.ports.retry(time.Now())
		}
		d.controls.retry(time.Now())
		d.rates.note(time.Now(), d.srv.Counts())
		d.records.tick(d.srv)
		d.log.Tick()
		d.ports.refreshRules()
		d.tls.poll(time.Now(), d.cfg.Listeners, d.handover.Survives())
		d.srv.Report(logging.SummaryInterval)
		if line := d.status(); line != sent {
			d.manager.notify(line)
			sent = line
		}
	}
	return nil
}

// logFault logs why the configuration is not what the file says.
func (d *daemon) logFault(message string) {
	if d.fault != nil {
		logFaults(d.log.Logger, message, d.fault)
	}
}

// logFaults logs a line for each line of err.
func logFaults(log *slog.Logger, message string, err error, attrs ...any) {
	for line := range strings.Lines(err.Error()) {
		log.Error(message, append(attrs, "err", strings.TrimSuffix(line, "\n"))...)
	}
}
