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
func (t *tlsSets) poll(now time.Time, cfg []config.Listener) {
	if now.Before(t.nextPoll) {
		return
	}
	t.nextPoll = now.Add(certs.WatchInterval)
	t.pollKernel(cfg)
	t.each(cfg, func(s *tlsSet, set *certs.Set, names string) {
		swapped, err := set.Poll()
		if err != nil {
			logFaults(t.log, "certificates not taken over, those before hold", err, "listener", names)
		}
		if swapped {
			t.log.Info("certificates taken over", "listener", names, "expires", set.Status(now).Expiry)
		}
		s.tell(t.log, set.Status(now).Problems, names)
	})
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
	reasons := map[string][]string{}
	var order []string
	for _, l := range cfg {
		if reason := t.ends(l); l.TLS.On() && reason != "" && l.TLS.Survive != "off" {
			if reasons[reason] == nil {
				order = append(order, reason)
			}
			reasons[reason] = append(reasons[reason], l.Name)
		}
	}
	for _, reason := range order {
		line += "; TLS clients of " + strings.Join(reasons[reason], ",") + " end with the daemon: " + reason
	}
	return line
}

// logReady logs once how a listener's clients speak TLS, and whether they outlive the daemon.
func (t *tlsSets) logReady(l config.Listener) {
	if !l.TLS.On() || t.announced[l.Name] {
		return
	}
	t.announced[l.Name] = true
	attrs := []any{"listener", l.Name, "survive", l.TLS.Survive}
	s := t.of(l.TLS)
	if set := s.Load(); set != nil {
		status := set.Status(time.Now())
		attrs = append(attrs, "expires", status.Expiry)
		s.tell(t.log, status.Problems, l.Name)
	}
	reason := t.ends(l)
	switch {
	case reason == "":
		t.log.Info("TLS clients outlive the daemon if they speak TLS 1.3", attrs...)
	case l.TLS.Survive == "auto":
		t.log.Warn("TLS clients end with the daemon", append(attrs, "reason", reason)...)
	default:
		t.log.Info("TLS clients end with the daemon", append(attrs, "reason", reason)...)
	}
}

// api returns how a listener's clients speak TLS; nil is for clear text.
func (t *tlsSets) api(l config.Listener, now time.Time) *api.ListenerTLS {
	if !l.TLS.On() {
		return nil
	}
	a := &api.ListenerTLS{Ends: t.ends(l)}
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
