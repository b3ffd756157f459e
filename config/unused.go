package config

import (
	"slices"

	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// dependence is about keys of a listener that have an effect only together with another key.
type dependence struct {
	names  []string
	on     []string // the keys that used depends on: with an error in one, nothing is known
	used   func(Listener) bool
	advice string // when they have no effect, and what to write instead
}

// dependent are keys outside of tables.
var dependent = []dependence{
	{[]string{"exec_user", "exec_timeout", "exec_memory"}, []string{"exec"},
		func(l Listener) bool { return len(l.Exec) > 0 }, "without exec: want exec"},
	{[]string{"proxy_header", "connect_timeout", "proxy_tls"}, []string{"proxy", "service"},
		func(l Listener) bool { return l.Proxies() }, "without proxy: want proxy"},
	{[]string{"proxy_ca", "proxy_server_name", "proxy_certificate", "proxy_key"}, []string{"proxy", "service", "proxy_tls"},
		func(l Listener) bool { return l.Proxies() && l.Proxy.TLS }, "without proxy_tls = true: want that"},
	{[]string{"banner", "model", "framing", "max_message", "idle_timeout", "ack"}, []string{"mux"},
		func(l Listener) bool { return !l.Muxes() }, "with mux: want them in the listeners that it names"},
	{[]string{"mode", "group"}, []string{"address"},
		func(l Listener) bool { return l.Unix() }, "without a unix socket: want an address \"unix:/run/…\""},
	{[]string{"clients_per_process"}, []string{"model"},
		func(l Listener) bool { return l.Model == "process" }, `without model = "process": want that`},
	{[]string{"ack_timeout"}, []string{"ack", "service", "record"},
		func(l Listener) bool { return !l.Ack.Empty() || l.Service == ServiceEcho && l.Record }, "without ack: want ack"},
	{[]string{"framing", "max_message"}, []string{"service", "exec", "record"},
		func(l Listener) bool { return l.hears() }, "unless the [[listener]] records what clients send: want record = true, or another service"},
}

// warnOfUnused warns of keys that have another value than their default, and no effect. Those at
// the top may have one in a [[listener]]. tables are those of all listeners of c, the main one
// first; served are the listeners that have an address.
func (r *reader) warnOfUnused(c *Config, tables []table, served []Listener) {
	for _, group := range dependent {
		for i, t := range tables {
			if r.unused(group, c, i, served) {
				t.warnOfUnused(group, "", listenerTarget(c, &c.Listeners[i]))
			}
		}
	}
}

// unused reports whether keys in the table of a listener of c have no effect.
func (r *reader) unused(group dependence, c *Config, i int, served []Listener) bool {
	heirs := c.Listeners[i : i+1]
	if i == 0 {
		heirs = served
	}
	return !r.AnyFailed(group.on...) && !(i == 0 && r.partial) && !slices.ContainsFunc(heirs, group.used)
}

// warnOfUnused warns of the keys in the table, or in one below it, that have another value than
// their default.
func (t table) warnOfUnused(group dependence, below string, values target) {
	own, path := t.Values, []string{}
	if below != "" {
		own, _ = t.Values[below].(map[string]any)
		path = append(path, below)
	}
	for _, name := range group.names {
		k := find(section{table: below}, name)
		v, set := own[name]
		if at := t.Setting(append(path, name)...); set && k.value.write(values) != k.Default() {
			at.Warn("is %s and has no effect %s, or no %s", at.Written(v), group.advice, name)
		}
	}
}

// withoutTLS and withoutClientAuth are keys of [tls] and [listener.tls].
var (
	withoutTLS = dependence{
		[]string{"client_ca", "client_auth", "crl", "allow_subjects", "deny_subjects", "min_version", "handshake_timeout", "survive"}, []string{"certificate"},
		func(l Listener) bool { return l.TLS.On() }, "without certificate: want certificate and key"}
	withoutClientAuth = dependence{
		[]string{"client_ca", "crl"}, []string{"certificate", "client_auth"},
		func(l Listener) bool { return l.TLS.On() && l.TLS.ClientAuth != noClientAuth }, `with client_auth = "none": want "request" or "require" there`}
)

// warnOfUnusedTLS is warnOfUnused for keys of [tls] and [listener.tls].
func (r *reader) warnOfUnusedTLS(c *Config, tables []table, served []Listener) {
	for i, t := range tables {
		values := listenerTarget(c, &c.Listeners[i])
		switch {
		case r.unused(withoutTLS, c, i, served):
			t.warnOfUnused(withoutTLS, "tls", values)
		case r.unused(withoutClientAuth, c, i, served):
			t.warnOfUnused(withoutClientAuth, "tls", values)
		}
	}
}

// warnOfDisabled warns of top-level keys without effect, because what they configure is disabled.
func (r *reader) warnOfDisabled(c *Config) {
	if at := r.At("survive_after"); !c.Survive && c.SurviveAfter != Default().SurviveAfter {
		at.Warn("is %q and has no effect with survive = false: want survive = true, or no survive_after", notation.FormatDuration(c.SurviveAfter))
	}
	counted := func(s PerSource) bool { return s != PerSource{} }
	own := func(l Listener) bool { return counted(l.Limits.PerSource) }
	if p := c.Limits.SourcePrefix; !r.partial && p != Default().Limits.SourcePrefix && !counted(c.Limits.PerSource) && !slices.ContainsFunc(c.Listeners, own) &&
		!r.AnyFailed("clients_per_source", "rate_per_source") {
		r.At("limits", "source_prefix").Warn("is %q and has no effect without clients_per_source or rate_per_source: want one of them, or no source_prefix", p)
	}
}

// warnOfStdout warns of keys for files, if there are none because records go to standard output.
func (r *reader) warnOfStdout(c *Config) {
	if c.recordsInFiles() || r.AnyFailed("file") {
		return
	}
	names := []string{"sync", "min_free"}
	if c.Log.File == "" {
		names = append(names, "mode", "max_size", "rotate", "max_backups", "max_age", "compress")
	}
	for _, name := range names {
		k, at := find(section{table: "record"}, name), r.At("record", name)
		if text := k.value.write(topTarget(c, new(Listener))); text != k.Default() && !at.Failed() {
			at.Warn("is %s and has no effect with file = %q: want the path of a file, or no %s", text, Stdout, name)
		}
	}
}

// warnOfIgnored warns of limits and answers that a program's clients do not get, also of inherited
// ones, as somebody may rely on them.
func (t table) warnOfIgnored(l Listener) {
	const unlessRecorded = "has no effect with exec unless record = true: "
	if !l.Ack.Empty() {
		t.Setting("ack").Warn("is %s and has no effect with exec: only the program answers", l.Ack.shown())
	}
	if l.Record {
		return
	}
	if l.IdleTimeout > 0 {
		t.Setting("idle_timeout").Warn("is %q and %sexec_timeout limits a program", notation.FormatDuration(l.IdleTimeout), unlessRecorded)
	}
	if n := l.Limits.MaxSessionBytes; n > 0 {
		t.Setting("limits", "max_session_bytes").Warn("is %q and %smax_session and exec_timeout limit a program", notation.FormatSize(n), unlessRecorded)
	}
	if l.Limits.MessageTimeout > 0 {
		t.Setting("limits", "message_timeout").Warn("is %q and %sexec_timeout limits a program", notation.FormatDuration(l.Limits.MessageTimeout), unlessRecorded)
	}
}

// warnOfUnproxied is warnOfIgnored for clients that are connected with an upstream.
func (t table) warnOfUnproxied(l Listener) {
	if !l.Ack.Empty() {
		t.Setting("ack").Warn("is %s and has no effect with proxy: only the upstream answers", l.Ack.shown())
	}
	if l.Limits.MessageTimeout > 0 && !l.Record {
		t.Setting("limits", "message_timeout").Warn("is %q and has no effect with proxy unless record = true: idle_timeout and max_session limit a client", notation.FormatDuration(l.Limits.MessageTimeout))
	}
}

// warnOfUnheard is warnOfIgnored for the clients of a built-in service.
func (t table) warnOfUnheard(l Listener) {
	recorded := l.hears() && l.Service == ServiceDiscard
	if !l.Ack.Empty() && !recorded {
		t.Setting("ack").Warn("is %s and has no effect with service = %s: want service = \"discard\" and record = true, or ack = \"\"", l.Ack.shown(), fault.Quote(l.Service))
	}
	if l.Limits.MessageTimeout > 0 && !l.hears() {
		t.Setting("limits", "message_timeout").Warn("is %q and has no effect with service = %s unless that records messages: max_session limits a client", notation.FormatDuration(l.Limits.MessageTimeout), fault.Quote(l.Service))
	}
}
