package daemon

import (
	"context"
	"errors"
	"slices"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/program"
	"tcpmux/daemon/systemd"
)

// reload puts the configuration that load returns in force, or keeps the old one and logs what is
// wrong with the new one. The service manager is notified before and after (sd_notify(3),
// RELOADING=1), also when the reload has failed: the daemon serves on.
func (d *daemon) reload(ctx context.Context, load Reload) {
	d.manager.notify("RELOADING=1", systemd.MonotonicUsec())
	d.publish(d.answer.begin())
	defer func() {
		d.manager.notify("READY=1", d.status())
		// Later than that, or systemd could take a reload that has failed for one under
		// way.
		d.publish(d.answer.end(d.fault))
	}()
	cfg, err := load()
	if err == nil {
		err = d.apply(ctx, cfg)
	}
	d.reloads++
	if d.fault = err; err != nil {
		d.failed++
		d.logFault("configuration not reloaded")
		return
	}
	attrs := []any{"file", cfg.Path}
	if n := len(cfg.DropIns); n > 0 {
		attrs = append(attrs, "drop_ins", n)
	}
	d.log.Info("configuration reloaded", attrs...)
}

// publish logs that the answer to a reload could not be written.
func (d *daemon) publish(err error) {
	if err != nil {
		d.log.Warn("how a reload goes cannot be told", "err", err)
	}
}

// apply puts cfg in force under live clients. What can fail comes first: after an error nothing has
// changed.
func (d *daemon) apply(ctx context.Context, cfg config.Config) error {
	rules, err := openRules(cfg.Listeners)
	if err != nil {
		return err
	}
	if err := program.CheckAll(cfg.Listeners); err != nil {
		return err
	}
	useCertificates, err := d.tls.prepare(cfg.Listeners)
	if err != nil {
		return err
	}
	if err := d.records.reopen(ctx, cfg, d.srv); err != nil {
		return err
	}
	if err := d.log.Reopen(logOptions(cfg)); err != nil {
		return errors.Join(err, d.records.reopen(ctx, d.cfg, d.srv))
	}
	changes := config.Diff(d.cfg, cfg)
	d.changes, d.loaded = changes, time.Now()
	d.cfg = inForce(d.cfg, cfg)
	allowThreads(cfg)
	useProcessors(cfg)
	useCertificates()
	d.ports.configure(d.cfg.Listeners, d.handover.PutSettings(d.cfg))
	d.ports.replaceRules(rules)
	d.tls.keep(cfg.Listeners, d.ports.configs())
	d.srv.SetLimits(cfg, d.ports.bindings())
	d.srv.SetEvents(cfg.Record.Events)
	d.handover.SetAge(cfg.SurviveAfter)
	d.handover.ReportCapacity(cfg.Limits.Clients)
	d.ports.retrySoon()
	d.srv.Refresh()
	d.logChanges(cfg.Warnings, changes)
	return nil
}

func (d *daemon) logChanges(warnings []string, changes []config.Change) {
	for _, w := range warnings {
		d.log.Warn("configuration", "warning", w)
	}
	for _, c := range changes {
		log, attrs := d.log.Info, []any{"key", c.Title(), "from", c.From, "to", c.To, "effect", string(c.TakesEffect())}
		if c.Source != d.cfg.Path && c.Source != "" {
			attrs = append(attrs, "file", c.Source) // a drop-in
		}
		if c.Effect == config.Restart {
			log = d.log.Warn
			attrs = append(attrs, "by", restartBy(c.Path(), d.ports.inherited()))
		}
		log("setting changed", attrs...)
	}
}

// restartBy returns what puts a changed setting in force that needs a restart. inherited is that
// systemd holds sockets.
func restartBy(path string, inherited bool) string {
	switch {
	case !inherited:
		return "a new start"
	case path == "survive", path == "control":
		return "systemctl restart tcpmux.service"
	}
	return listen.RemakeSockets
}

// inForce returns next as far as a reload puts it in force: until a restart, listeners are those of
// old, at their addresses, and so are the control socket and the status page. So the next reload
// reports again what needs a restart. Listeners without an address, which muxes have, come and go.
func inForce(old, next config.Config) config.Config {
	wanted := next.Listeners
	next.Listeners, next.Survive = nil, old.Survive
	next.Control, next.Status = old.Control, old.Status
	for _, ln := range old.Listeners {
		i := slices.IndexFunc(wanted, func(w config.Listener) bool { return w.Name == ln.Name })
		switch {
		case i >= 0:
			w := wanted[i]
			w.Address, w.Mode, w.Group = ln.Address, ln.Mode, ln.Group
			next.Listeners = append(next.Listeners, w)
		case len(ln.Address) > 0:
			next.Listeners = append(next.Listeners, ln)
		}
	}
	for _, w := range wanted {
		there := func(ln config.Listener) bool { return w.Name == ln.Name }
		if len(w.Address) == 0 && !slices.ContainsFunc(old.Listeners, there) {
			next.Listeners = append(next.Listeners, w)
		}
	}
	next.SettleMuxes()
	return next
}

// reopen closes files that were moved away, and makes new ones. The daemon notices a record file
// that was moved within a second anyway, but only this tells that the old file can be compressed.
func (d *daemon) reopen() {
	if err := errors.Join(d.records.follow(), d.log.Follow()); err != nil {
		d.log.Error("files not reopened", "err", withFileHint(err))
		return
	}
	d.log.Info("files reopened")
}
