package config

import "slices"

// idleKeys are keys of a listener that have an effect only beside another.
var idleKeys = []struct {
	names   []string
	beside  []string // the keys that used looks at: where one is faulty nothing is known
	used    func(Listener) bool
	without string // how things stand where it is not, and what else to want
}{
	{[]string{"exec_user", "exec_timeout", "exec_memory"}, []string{"exec"},
		func(l Listener) bool { return len(l.Exec) > 0 }, "without exec: want exec"},
	{[]string{"clients_per_process"}, []string{"model"},
		func(l Listener) bool { return l.Model == "process" }, `without model = "process": want that`},
	{[]string{"ack_timeout"}, []string{"ack"},
		func(l Listener) bool { return !l.Ack.Empty() }, "without ack: want ack"},
	{[]string{"framing", "max_message"}, []string{"exec", "record"},
		func(l Listener) bool { return l.Record }, "with exec unless the [[listener]] has record = true: want that"},
}

// checkIdle warns of keys that have another value than their default, and no effect. Those at the top may be for a [[listener]].
// tables are those of all listeners of c, the one at the top first; served are the listeners that are not left out.
func (d *document) checkIdle(c *Config, tables []table, served []Listener) {
	base := Default().Listeners[0]
	for _, k := range idleKeys {
		if d.anyFailed(k.beside...) {
			continue
		}
		for i, t := range tables {
			inherit := c.Listeners[i : i+1]
			if i == 0 {
				inherit = served
			}
			if slices.ContainsFunc(inherit, k.used) {
				continue
			}
			for _, name := range k.names {
				if c.Listeners[i].value(name) != base.value(name) {
					t.warnIdle(name, k.without)
				}
			}
		}
	}
}

// warnIdle is the warning about a key, if it stands here.
func (t table) warnIdle(name, without string) {
	if v, set := t.values[name]; set {
		at := t.place(name)
		at.warn("is %s and has no effect %s, or no %s", at.written(v), without, name)
	}
}

// value is that of a key which a listener shares with the top, as files have it.
func (l Listener) value(name string) string {
	for _, s := range l.shared("") {
		if s.Key == name {
			return s.Value
		}
	}
	return ""
}

// checkSwitchedOff warns of keys of no listener that have no effect, as what they are for is switched off.
func (d *document) checkSwitchedOff(c *Config) {
	if at := d.at("survive_after"); !c.Survive && c.SurviveAfter != Default().SurviveAfter {
		at.warn("is %q and has no effect with survive = false: want survive = true, or no survive_after", formatDuration(c.SurviveAfter))
	}
	counted := func(s PerSource) bool { return s != PerSource{} }
	own := func(l Listener) bool { return counted(l.Limits.PerSource) }
	if p := c.Limits.SourcePrefix; p != Default().Limits.SourcePrefix && !counted(c.Limits.PerSource) && !slices.ContainsFunc(c.Listeners, own) &&
		!d.anyFailed("clients_per_source", "rate_per_source") {
		d.at("limits", "source_prefix").warn("is %q and has no effect without clients_per_source or rate_per_source: want one of them, or no source_prefix", p)
	}
}

// unheeded warns of what would bound or answer the clients of a listener, had it no program: also of what it inherits, as
// somebody may rely on it.
func (t table) unheeded(l Listener) {
	const unlessRecorded = "has no effect with exec unless record = true: "
	if !l.Ack.Empty() {
		t.setting("ack").warn("is %s and has no effect with exec: the program alone speaks", l.Ack.shown())
	}
	if l.Record {
		return
	}
	if l.IdleTimeout > 0 {
		t.setting("idle_timeout").warn("is %q and %sexec_timeout limits a program", formatDuration(l.IdleTimeout), unlessRecorded)
	}
	if n := l.Limits.MaxSessionBytes; n > 0 {
		t.setting("limits", "max_session_bytes").warn("is %q and %smax_session and exec_timeout limit a program", formatSize(n), unlessRecorded)
	}
	if l.Limits.MessageTimeout > 0 {
		t.setting("limits", "message_timeout").warn("is %q and %sexec_timeout limits a program", formatDuration(l.Limits.MessageTimeout), unlessRecorded)
	}
}
