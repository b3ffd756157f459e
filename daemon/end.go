package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"tcpmux/daemon/systemd"
)

// phase is how near the end of the process is.
type phase int

const (
	serving   phase = iota
	finishing       // clients that the next process cannot serve finish; the others are served
	leaving         // the clients go on with the next process
	draining        // all clients finish
)

// String returns the phase in the words of the log and the status line.
func (p phase) String() string {
	return [...]string{
		serving:   "serving",
		finishing: "leaving clients to the next process",
		leaving:   "leaving clients to the next process",
		draining:  "draining",
	}[p]
}

// endGrace is how much longer than drain_timeout the end may take before the service manager
// considers the daemon hung.
const endGrace = 30 * time.Second

// stopInterval is how often a restart that waits for clients checks whether the service is to stop
// instead.
const stopInterval = time.Second

// end lets the clients finish, and closes the rest. If another process follows, it leaves the
// clients to that one instead, after those have finished that it cannot serve. A stop of the
// service that is requested while they finish takes the place of the restart.
func (d *daemon) end(restart bool) {
	defer d.ports.accepting.Wait()
	defer d.srv.Report(0)
	if restart {
		ctx, cancel := d.enter(finishing)
		defer cancel()
		if !d.waitForStragglers(ctx) {
			d.phase = leaving
			d.finish(ctx, d.srv.Leave, "left clients to the next process")
			return
		}
		d.log.Info("stopped while a restart waits for those who may finish first: nobody follows")
	}
	ctx, cancel := d.enter(draining)
	defer cancel()
	d.finish(ctx, d.srv.Shutdown, "drained")
}

// leaveAll leaves the clients to the program that takes over, and returns when nothing of the
// server is left, its processes included, of which that program knows nothing.
func (d *daemon) leaveAll() {
	d.ports.leaveBacklogs()
	d.end(true)
	d.srv.EndWorkers()
}

// enter begins a phase and reports it. The context is done when the time of the clients is over.
func (d *daemon) enter(p phase) (context.Context, context.CancelFunc) {
	d.phase = p
	timeout := d.cfg.DrainTimeout
	d.manager.notify(systemd.ExtendTimeout(timeout+endGrace), "STATUS="+p.String())
	d.log.Info(p.String(), "clients", d.srv.Clients(), "timeout", timeout)
	return context.WithTimeout(context.Background(), timeout)
}

// finish ends the server by one of its methods, and logs that this is done.
func (d *daemon) finish(ctx context.Context, by func(context.Context) error, done string) {
	ended := make(chan struct{})
	defer close(ended)
	go d.records.giveUp(ctx, ended)
	if err := d.answerWhile(func() error { return by(ctx) }); err != nil {
		d.log.Warn(done, "err", err, "records", d.srv.Records())
		return
	}
	d.log.Info(done, "records", d.srv.Records())
}

// waitForStragglers lets those clients finish that cannot go on with the next process, while all
// others are served. It reports early, with true, that the service is to stop: systemd sends no
// second signal, and would drop clients that are left to a process which never starts. In the
// instant between the last check and the end of this process that can still happen; then clients
// are reset, and no record has their end.
func (d *daemon) waitForStragglers(ctx context.Context) (stop bool) {
	waiting, done := context.WithCancel(context.Background())
	defer done()
	began := time.Now()
	go func() {
		defer done()
		d.srv.WaitForStragglers(ctx)
	}()
	var stopped atomic.Bool
	go func() {
		if awaitStop(waiting) {
			stopped.Store(true)
			done()
		}
	}()
	d.serve(waiting, Requests{})
	return stopped.Load() || time.Since(began) >= stopInterval && systemd.StopAsked(ctx)
}

// awaitStop returns true once the service is to stop, or false when ctx is done.
func awaitStop(ctx context.Context) bool {
	tick := time.NewTicker(stopInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if systemd.StopAsked(ctx) {
			return true
		}
	}
}
