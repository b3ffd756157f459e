package daemon

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/certs"
	"tcpmux/daemon/control/api"
)

// poll puts in force what has changed in the files of the listeners, and logs what has become of
// them. It is to be called about once a second.
func (t *tlsSets) poll(now time.Time, cfg []config.Listener, survives bool) {
	if now.Before(t.nextPoll) {
		return
	}
	t.nextPoll = now.Add(certs.WatchInterval)
	t.pollKernel(cfg)
	t.each(cfg, func(_ *tlsSet, set *certs.Set, names string) {
		swapped, err := set.Poll()
		if err != nil {
			logFaults(t.log, "certificates not taken over, those before hold", err, "listener", names)
		}
		if swapped {
			t.log.Info("certificates taken over", "listener", names, "expires", set.Status(now).Expiry)
		}
	})
	t.announce(cfg, survives)
}

// pollKernel finds out whether the kernel has learnt TLS.
func (t *tlsSets) pollKernel(cfg []config.Listener) {
	if t.kernel == nil || !slices.ContainsFunc(cfg, func(l config.Listener) bool { return l.TLS.On() }) {
		return
	}
	if t.kernel = t.probe(); t.kernel == nil {
		t.log.Info("the kernel has TLS now, new TLS clients outlive the daemon")
	}
}

// each calls f for each set that is open, with the names of its listeners.
func (t *tlsSets) each(cfg []config.Listener, f func(s *tlsSet, set *certs.Set, names string)) {
	names := map[*tlsSet][]string{}
	var order []*tlsSet
	for _, l := range cfg {
		if !l.TLS.On() {
			continue
		}
		s := t.of(l.TLS)
		if names[s] == nil {
			order = append(order, s)
		}
		names[s] = append(names[s], l.Name)
	}
	for _, s := range order {
		if set := s.Load(); set != nil {
			f(s, set, strings.Join(names[s], ","))
		}
	}
}

// tell logs the problems that are new, and those that are over.
func (s *tlsSet) tell(log *slog.Logger, problems []string, names string) {
	for _, p := range problems {
		if !slices.Contains(s.told, p) {
			log.Warn("certificates have a problem", "listener", names, "err", p)
		}
	}
	for _, p := range s.told {
		if !slices.Contains(problems, p) {
			log.Info("certificates have a problem no more", "listener", names, "err", p)
		}
	}
	s.told = problems
}

// problems returns what is wrong with certificates, in plain words.
func (t *tlsSets) problems(cfg []config.Listener, now time.Time) (all []string) {
	t.each(cfg, func(_ *tlsSet, set *certs.Set, names string) {
		status := set.Status(now)
		if status.Fault != nil {
			all = append(all, "certificates are not those of their files (listener "+names+"): "+linesOf(status.Fault)[0])
		}
		for _, p := range status.Problems {
			all = append(all, p+" (listener "+names+")")
		}
	})
	return all
}

// status returns the part of the status line about TLS, each after a semicolon.
func (t *tlsSets) status(cfg []config.Listener, now time.Time) (line string) {
	if all := t.problems(cfg, now); len(all) > 0 {
		line = "; " + all[0]
		if n := len(all) - 1; n > 0 {
			line += ", and " + counted(int64(n), "more problem") + " of certificates"
		}
	}
	var names []string
	for _, l := range cfg {
		if l.TLS.On() && t.kernel != nil && t.ends(l) == t.kernel.Error() {
			names = append(names, l.Name)
		}
	}
	if len(names) > 0 {
		line += "; TLS clients of " + strings.Join(names, ",") + " end with the daemon: " + t.kernel.Error()
	}
	return line
}

// announce logs once for each listener how its clients speak TLS, and whether they outlive the
// daemon, as others do if survives.
func (t *tlsSets) announce(cfg []config.Listener, survives bool) {
	now := time.Now()
	t.each(cfg, func(s *tlsSet, set *certs.Set, names string) { s.tell(t.log, set.Status(now).Problems, names) })
	for _, l := range cfg {
		if !l.TLS.On() || t.announced[l.Name] {
			continue
		}
		set := t.of(l.TLS).Load()
		if set == nil {
			continue
		}
		t.announced[l.Name] = true
		attrs := []any{"listener", l.Name, "survive", l.TLS.Survive, "expires", set.Status(now).Expiry}
		reason := t.ends(l)
		switch {
		case reason != "" && t.kernel != nil && reason == t.kernel.Error():
			t.log.Warn("TLS clients end with the daemon", append(attrs, "reason", reason)...)
		case reason != "":
			t.log.Info("TLS clients end with the daemon", append(attrs, "reason", reason)...)
		case !survives:
			t.log.Info("TLS clients end with the daemon, as others do", attrs...)
		default:
			t.log.Info("TLS clients outlive the daemon if they speak TLS 1.3", attrs...)
		}
	}
}

// api returns how a listener's clients speak TLS; nil is for clear text. survives is whether others
// outlive the process.
func (t *tlsSets) api(l config.Listener, now time.Time, survives bool) *api.ListenerTLS {
	if !l.TLS.On() {
		return nil
	}
	a := &api.ListenerTLS{Ends: t.ends(l)}
	if a.Ends == "" && !survives {
		a.Ends = "none outlives this process"
	}
	set := t.of(l.TLS).Load()
	if set == nil {
		return a
	}
	status := set.Status(now)
	a.Expires, a.Loaded, a.Failures = status.Expiry, status.Loaded, status.Failures
	if status.Fault != nil {
		a.Fault = status.Fault.Error()
	}
	return a
}
