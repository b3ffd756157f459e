package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/systemd"
)

// recordPause is how long a reload waits for sessions to hand over what they have encoded. Only a sink that stands still
// takes so long.
const recordPause = 5 * time.Second

// reload takes over the configuration that load brings, or keeps the old one and says what is wrong with the new. The service
// manager is told before and after (sd_notify(3), RELOADING=1), as it is also of one that has failed: the daemon serves on.
func (d *daemon) reload(ctx context.Context, load Reload) {
	d.notify("RELOADING=1", systemd.MonotonicUsec())
	d.leaveAnswer(d.reloaded.begin())
	defer func() {
		d.notify("READY=1", d.status())
		d.leaveAnswer(d.reloaded.end(d.fault)) // later, or systemd could take a reload that has failed for one that goes on
	}()
	cfg, err := load()
	if err == nil {
		err = d.apply(ctx, cfg)
	}
	if d.fault = err; err != nil {
		d.tellFault("configuration not reloaded")
		return
	}
	d.log.Info("configuration reloaded", "file", cfg.Path)
}

// leaveAnswer logs that nobody could be told how a reload went.
func (d *daemon) leaveAnswer(err error) {
	if err != nil {
		d.log.Warn("how a reload goes cannot be told", "err", err)
	}
}

// apply makes cfg what holds, under live clients. What can fail comes first: then nothing has changed.
func (d *daemon) apply(ctx context.Context, cfg config.Config) error {
	changes := config.Diff(d.cfg, cfg)
	rules, err := openRules(cfg.Listeners)
	if err != nil {
		return err
	}
	if err := checkPrograms(cfg.Listeners); err != nil {
		return err
	}
	if err := d.applyRecord(ctx, cfg); err != nil {
		return err
	}
	if err := d.log.reopen(cfg); err != nil {
		return errors.Join(err, d.applyRecord(ctx, d.cfg))
	}
	d.applyListeners(cfg.Listeners, d.putOrigins(inForce(d.cfg, cfg)))
	allowThreads(cfg)
	rules.keep(d.rules, d.lns)
	d.rules = rules
	d.srv.configure(cfg, d.lns, d.rules)
	d.srv.events.Store(cfg.Record.Events)
	if v := d.srv.survival; v != nil {
		v.ring.SetAge(cfg.SurviveAfter)
		v.tellCapacity(d.log.Logger, d.srv.slots.most(), cfg.Limits.Clients)
	}
	d.cfg = inForce(d.cfg, cfg)
	d.retryNow()
	d.srv.nudge()
	for _, w := range cfg.Warnings {
		d.log.Warn("configuration", "warning", w)
	}
	for _, c := range changes {
		log, attrs := d.log.Info, []any{"key", c.Title(), "from", c.From, "to", c.To, "effect", string(c.Effect)}
		if c.Effect == config.Restart {
			log = d.log.Warn
			attrs = append(attrs, "by", restartBy(c.Path(), d.lns))
		}
		log("setting changed", attrs...)
	}
	return nil
}

// restartBy is what puts a changed setting in force that needs a restart.
func restartBy(path string, lns []*listener) string {
	switch {
	case !slices.ContainsFunc(lns, func(ln *listener) bool { return ln.inherited }):
		return "a new start"
	case path == "survive":
		return "systemctl restart tcpmux.service"
	}
	return remakeSockets
}

// inForce is next as far as it holds now: the listeners stay those of old, where they are, until a restart. So the next
// reload tells again what waits for one.
func inForce(old, next config.Config) config.Config {
	wanted := next.Listeners
	next.Listeners, next.Survive = slices.Clone(old.Listeners), old.Survive
	for i, ln := range next.Listeners {
		for _, w := range wanted {
			if w.Name == ln.Name {
				next.Listeners[i], next.Listeners[i].Address = w, ln.Address
			}
		}
	}
	return next
}

// applyRecord makes the record file cfg's; one that was moved or deleted is made anew in any case. No session is between
// encoding and handing over meanwhile, so that a file has records of one format only.
func (d *daemon) applyRecord(ctx context.Context, cfg config.Config) (err error) {
	opt, err := recordOptions(cfg, d.troubles)
	if err != nil {
		return err
	}
	undo := d.file.LowerMinFree(opt.MinFree) // or clients that wait for room would keep the reload from giving it
	defer func() {
		if err != nil {
			undo()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, recordPause)
	defer cancel()
	resume := d.srv.workspaces.pause(ctx)
	if resume == nil {
		return errBusy
	}
	defer resume()
	if err := d.sink.Flush(ctx); err != nil {
		return errBusy
	}
	if err := d.file.Reopen(opt); err != nil {
		return fmt.Errorf("%w%s", err, fileHint(err))
	}
	d.srv.workspaces.encoder = encoderOf(opt.Format)
	return nil
}

// errBusy is why a reload does not wait for a sink for ever.
var errBusy = errors.New("records cannot be written: make room or mend the disk, and reload again")

// applyListeners gives the listeners that there are their new settings. Those that have come, gone or moved wait for a
// restart.
func (d *daemon) applyListeners(cfg []config.Listener, origins map[string]uint32) {
	for _, c := range cfg {
		for _, ln := range d.lns {
			if ln.name != c.Name {
				continue
			}
			ln.configure(c, origins[c.Name])
			if ln.file == nil {
				continue
			}
			if err := cmp.Or(ln.prepare(), ln.setBacklog()); err != nil {
				d.log.Warn("backlog or lost_timeout cannot be changed", "listener", ln.name, "err", err)
			}
		}
	}
}

// reopen lets go of files that were moved away. The record file is followed within a second in any case; whoever moved it
// and wants to compress it need not guess.
func (d *daemon) reopen() {
	err := d.file.Follow()
	if d.log.file != nil {
		err = errors.Join(err, d.log.file.Follow())
	}
	if err != nil {
		d.log.Error("files not reopened", "err", fmt.Errorf("%w%s", err, fileHint(err)))
		return
	}
	d.log.Info("files reopened")
}
