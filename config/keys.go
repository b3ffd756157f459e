package config

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"tcpmux/config/notation"
)

const (
	maxDuration   = 10 * 365 * notation.Day
	maxMaxMessage = 16 << 20
	minMaxSize    = 4 << 10
	maxBytes      = 1 << 50 // a petabyte: a larger number is most likely a mistake
	minMemory     = 1 << 20
	minMaxBytes   = 1 << 20
	maxInFlight   = 10_000
	maxPartials   = 1 << 40
	maxCount      = 1_000_000
	maxBanner     = 4 << 10
	maxAck        = 1 << 10
	maxSilence    = time.Hour
	maxDelimiter  = 16 // bytes, as of start
	maxDelimiters = 8
	// What precedes a message in a record has no room for more.
	maxLengthOffset = 64
	maxLengthAdjust = 1 << 16
	// Fits into the send buffer of a new connection, so sending never waits.
	maxRefusal = 1 << 10
)

// keys returns the table of all keys. It is built when it is first used: a worker process never
// uses it. That init sets it breaks a cycle, as the readers of some values suggest names of keys.
var keys func() []Key

func init() { keys = sync.OnceValue(rows) }

// rows has one row for each key, in the order of a file. A row says where the key stands, which
// field it sets, what is allowed, its default, and the effect of a reload.
//
// A new key is a field with a row here, an entry in tcpmux.toml(5), a place in the shipped file and
// another value in testdata/good.toml. Tests report what is missing.
func rows() []Key {
	return slices.Concat(listenerRows(), tableRows(), forwardRows(), tlsRows(), limitRows())
}

// listenerRows has the keys of a [[listener]] and of the main listener.
func listenerRows() []Key {
	return []Key{
		own("name", func(l *Listener) *string { return &l.Name }, listenerName(), "", Restart).required(),
		own("address", func(l *Listener) *[]string { return &l.Address }, listenerAddresses("for none"), []string{"127.0.0.1:12345"}, Restart).onTop(),
		own("address", func(l *Listener) *[]string { return &l.Address }, listenerAddresses("for a listener that muxes have, and nobody else reaches"), nil, Restart),
		shared("mode", func(l *Listener) *uint32 { return &l.Mode }, socketMode(), 0o660, Restart),
		shared("group", func(l *Listener) *string { return &l.Group }, groupName(), "", Restart),
		own("mux", func(l *Listener) *[]string { return &l.Mux }, muxNames(), nil, NewClients).alsoOnTop(),
		own("service", func(l *Listener) *string { return &l.Service }, service(), ServiceRecord, NewClients).otherwise(`"exec" with exec, "proxy" with proxy`),
		own("record", func(l *Listener) *bool { return &l.Record }, boolean(), true, NewClients).otherwise("false with another service"),
		own("file", func(l *Listener) *string { return &l.File }, ownFile(), "", NewClients),

		shared("backlog", func(l *Listener) *int { return &l.Backlog }, number(1, maxCount), 4096, Now),
		shared("banner", func(l *Listener) *Bytes { return &l.Banner }, bytesOf(maxBanner, placeholders...), Text("Welcome connect!\r\n"), NewClients).otherwise(`"" with exec, proxy and built-in services`),
		shared("model", func(l *Listener) *string { return &l.Model }, word("goroutine", "thread", "process"), "goroutine", NewClients),
		shared("clients_per_process", func(l *Listener) *int { return &l.ClientsPerProcess }, number(1, maxCount), 100, NewClients),
		shared("framing", func(l *Listener) *string { return &l.Framing }, word("line", "nul", "chunk", "octet-counted", lengthPrefixed, delimited, fixed, silence), "line", NewClients),
		shared("delimiter", func(l *Listener) *[]Bytes { return &l.Delimiter }, delimiters(), nil, NewClients),
		shared("start", func(l *Listener) *Bytes { return &l.Start }, anyBytes(maxDelimiter), Bytes{}, NewClients),
		shared("message_size", func(l *Listener) *int { return &l.MessageSize }, limit(maxMaxMessage, "for none"), 0, NewClients),
		shared("silence", func(l *Listener) *time.Duration { return &l.Silence }, durationUpTo(maxSilence), 50*time.Millisecond, NewClients),
		shared("length_size", func(l *Listener) *int { return &l.LengthSize }, number(1, 4), 4, NewClients),
		shared("length_order", func(l *Listener) *string { return &l.LengthOrder }, word("big", "little"), "big", NewClients),
		shared("length_offset", func(l *Listener) *int { return &l.LengthOffset }, number(0, maxLengthOffset), 0, NewClients),
		shared("length_adjust", func(l *Listener) *int { return &l.LengthAdjust }, number(-maxLengthAdjust, maxLengthAdjust), 0, NewClients),
		shared("max_message", func(l *Listener) *int64 { return &l.MaxMessage }, size(1, maxMaxMessage, ""), 64<<10, NewClients),
		shared("idle_timeout", func(l *Listener) *time.Duration { return &l.IdleTimeout }, idleTimeout(), 0, Now),
		shared("lost_timeout", func(l *Listener) *time.Duration { return &l.LostTimeout }, wholeSeconds(10*time.Second, 2*time.Hour), 2*time.Minute, NewClients),
		shared("proxy_protocol", func(l *Listener) *[]netip.Prefix { return &l.ProxyProtocol }, prefixes(), nil, NewClients),
		shared("ack", func(l *Listener) *Bytes { return &l.Ack }, bytesOf(maxAck, append(placeholders, "offset", "length")...), Bytes{}, NewClients),
		shared("ack_timeout", func(l *Listener) *time.Duration { return &l.AckTimeout }, duration("for no timeout"), 30*time.Second, NewClients),
		shared("exec", func(l *Listener) *[]string { return &l.Exec }, program(), nil, NewClients),
		shared("exec_user", func(l *Listener) *string { return &l.ExecUser }, userName(), "", NewClients),
		shared("exec_timeout", func(l *Listener) *time.Duration { return &l.ExecTimeout }, duration("for no timeout"), 0, NewClients),
		shared("exec_memory", func(l *Listener) *int64 { return &l.ExecMemory }, size(minMemory, maxBytes, "for no limit"), 0, NewClients),
		proxy("proxy", func(p *Proxy) *[]string { return &p.To }, upstreams(), nil),
		proxy("proxy_header", func(p *Proxy) *string { return &p.Header }, wordOr("for none", "v1", "v2"), ""),
		proxy("connect_timeout", func(p *Proxy) *time.Duration { return &p.ConnectTimeout }, durationUpTo(maxConnect), 10*time.Second),
		proxy("proxy_tls", func(p *Proxy) *bool { return &p.TLS }, boolean(), false),
		proxy("proxy_ca", func(p *Proxy) *string { return &p.CA }, tlsFile("for those of the system"), ""),
		proxy("proxy_server_name", func(p *Proxy) *string { return &p.ServerName }, serverName(), ""),
		proxy("proxy_certificate", func(p *Proxy) *string { return &p.Certificate }, tlsFile("for none"), ""),
		proxy("proxy_key", func(p *Proxy) *string { return &p.Key }, tlsFile("for none"), ""),
	}
}

// tableRows has the keys of the daemon, of [record], of [log] and of [status].
func tableRows() []Key {
	return []Key{
		top("drain_timeout", func(c *Config) *time.Duration { return &c.DrainTimeout }, duration("to close clients at once"), 10*time.Second, Now),
		top("survive", func(c *Config) *bool { return &c.Survive }, boolean(), true, Restart),
		top("survive_after", func(c *Config) *time.Duration { return &c.SurviveAfter }, duration("for all clients"), time.Second, Now),
		top("control", func(c *Config) *string { return &c.Control }, socketPath(), "", Restart),

		record("file", func(r *Record) *string { return &r.File }, recordPath(), "records.log", Now),
		record("format", func(r *Record) *string { return &r.Format }, word("text", "json"), "text", Now),
		record("sync", func(r *Record) *time.Duration { return &r.Sync }, syncTime(), time.Second, Now),
		record("min_free", func(r *Record) *int64 { return &r.MinFree }, size(1, maxBytes, "for none"), 0, Now),
		record("mode", func(r *Record) *uint32 { return &r.Mode }, mode(), 0o640, Now),
		record("max_size", func(r *Record) *int64 { return &r.MaxSize }, size(minMaxSize, maxBytes, ""), 100<<20, Now),
		record("rotate", func(r *Record) *string { return &r.Rotate }, wordOr("for size alone", "hourly", "daily", "weekly"), "", Now),
		record("max_backups", func(r *Record) *int { return &r.MaxBackups }, limit(maxCount, "to keep all"), 10, Now),
		record("max_age", func(r *Record) *time.Duration { return &r.MaxAge }, days("to keep all"), 0, Now),
		record("compress", func(r *Record) *bool { return &r.Compress }, boolean(), true, Now),
		record("events", func(r *Record) *Events { return &r.Events }, events(), AllEvents, NewClients),

		log("file", func(l *Log) *string { return &l.File }, filePath("for standard error"), "", Now),
		log("level", func(l *Log) *string { return &l.Level }, word("debug", "info", "warn", "error"), "info", Now),

		top("address", func(c *Config) *[]string { return &c.Status.Address }, addresses("for none"), nil, Restart).in("status"),
	}
}

// forwardRows has the keys of [forward].
func forwardRows() []Key {
	return []Key{
		forward("servers", func(f *Forward) *[]string { return &f.Servers }, servers(), nil, Now),
		forward("subject", func(f *Forward) *string { return &f.Subject }, subjectTemplate(), "tcpmux.{host}.{listener}.{kind}", Now),
		forward("host", func(f *Forward) *string { return &f.Host }, hostName(), "", Now),
		forward("stream", func(f *Forward) *string { return &f.Stream }, plainName(""), "TCPMUX", Now),
		forward("create", func(f *Forward) *bool { return &f.Create }, boolean(), false, Now),
		forward("max_bytes", func(f *Forward) *int64 { return &f.MaxBytes }, size(minMaxBytes, maxBytes, ""), 10<<30, Now),
		forward("max_age", func(f *Forward) *time.Duration { return &f.MaxAge }, durationFrom(time.Hour, "for no limit"), 0, Now),
		forward("replicas", func(f *Forward) *int { return &f.Replicas }, number(1, 5), 1, Now),
		forward("credentials", func(f *Forward) *string { return &f.Credentials }, secretPath(), "", Now),
		forward("nkey", func(f *Forward) *string { return &f.NKey }, secretPath(), "", Now),
		forward("token", func(f *Forward) *string { return &f.Token }, secretPath(), "", Now),
		forward("user", func(f *Forward) *string { return &f.User }, secretPath(), "", Now),
		forward("password", func(f *Forward) *string { return &f.Password }, secretPath(), "", Now),
		forward("tls", func(f *Forward) *bool { return &f.TLS }, boolean(), false, Now),
		forward("ca", func(f *Forward) *string { return &f.CA }, secretPath(), "", Now),
		forward("certificate", func(f *Forward) *string { return &f.Certificate }, secretPath(), "", Now),
		forward("key", func(f *Forward) *string { return &f.Key }, secretPath(), "", Now),
		forward("domain", func(f *Forward) *string { return &f.Domain }, plainName("for that of the server"), "", Now),
		forward("max_in_flight", func(f *Forward) *int { return &f.MaxInFlight }, number(1, maxInFlight), 1000, Now),
		forward("rate", func(f *Forward) *int { return &f.Rate }, limit(maxCount, "for no limit"), 0, Now),
		forward("keep", func(f *Forward) *time.Duration { return &f.Keep }, duration("for no time"), 5*time.Minute, Now),
		forward("state", func(f *Forward) *string { return &f.State }, stateDirectory(), "/var/lib/tcpmux-forward", Now),
		forward("address", func(f *Forward) *[]string { return &f.Address }, addresses("for none"), nil, Now),
	}
}

// tlsRows has the keys of [tls] and, inherited from there, of [listener.tls].
func tlsRows() []Key {
	return []Key{
		secured("certificate", func(t *TLS) *string { return &t.Certificate }, tlsFile("for clear text"), ""),
		secured("key", func(t *TLS) *string { return &t.Key }, tlsFile("for none"), ""),
		secured("client_ca", func(t *TLS) *string { return &t.ClientCA }, tlsFile("for none"), ""),
		secured("client_auth", func(t *TLS) *string { return &t.ClientAuth }, word(noClientAuth, "request", "require"), noClientAuth),
		secured("crl", func(t *TLS) *string { return &t.CRL }, tlsFile("for none"), ""),
		secured("allow_subjects", func(t *TLS) *[]string { return &t.AllowSubjects }, subjects(), nil),
		secured("deny_subjects", func(t *TLS) *[]string { return &t.DenySubjects }, subjects(), nil),
		secured("min_version", func(t *TLS) *string { return &t.MinVersion }, word("1.2", "1.3"), "1.3"),
		secured("handshake_timeout", func(t *TLS) *time.Duration { return &t.HandshakeTimeout }, durationBetween(time.Second, 10*time.Minute), 10*time.Second),
		secured("survive", func(t *TLS) *string { return &t.Survive }, word("auto", mustSurvive, "off"), "auto"),
	}
}

// limitRows has the keys of [limits] and of [listener.limits].
func limitRows() []Key {
	return []Key{
		limits("clients", func(l *Limits) *int { return &l.Clients }, number(1, maxCount), 10000, Now),
		ownLimits("clients", func(l *ListenerLimits) *int { return &l.Clients }, limit(maxCount, "for no limit"), 0, Now),
		limits("memory", func(l *Limits) *int64 { return &l.Memory }, size(minMemory, maxPartials, ""), 256<<20, Now),
		limits("source_prefix", func(l *Limits) *SourcePrefix { return &l.SourcePrefix }, sourcePrefix(), SourcePrefix{IPv4: 32, IPv6: 64}, NewClients),
		perSource("clients_per_source", func(s *PerSource) *int { return &s.ClientsPerSource }, limit(maxCount, "for no limit"), 0, NewClients),
		perSource("rate_per_source", func(s *PerSource) *Rate { return &s.RatePerSource }, rate(), Rate{}, NewClients),
		policy("allow", func(p *Policy) *[]netip.Prefix { return &p.Allow }, prefixes(), nil, NewClients),
		policy("deny", func(p *Policy) *[]netip.Prefix { return &p.Deny }, prefixes(), nil, NewClients),
		policy("rules", func(p *Policy) *string { return &p.Rules }, rulesFile(), "", NewClients),
		policy("refusal", func(p *Policy) *Bytes { return &p.Refusal }, bytesOf(maxRefusal), Bytes{}, NewClients),
		policy("access_times", func(p *Policy) *[]Window { return &p.AccessTimes }, windows(), nil, NewClients),
		policy("max_session", func(p *Policy) *time.Duration { return &p.MaxSession }, duration("for no limit"), 0, Now),
		policy("max_session_bytes", func(p *Policy) *int64 { return &p.MaxSessionBytes }, size(1, maxBytes, "for no limit"), 0, Now),
		policy("message_timeout", func(p *Policy) *time.Duration { return &p.MessageTimeout }, duration("for no timeout"), 0, Now),
	}
}

// top makes the row of a key that stands before the first table alone.
func top[T any](name string, of func(*Config) *T, k kind[T], initial T, e Effect) Key {
	return Key{Name: name, Top: true, Effect: e, value: field[T]{func(t target) *T { return of(t.config) }, k, initial}}
}

// own makes the row of a key that stands in a [[listener]] alone, or means something else there.
func own[T any](name string, of func(*Listener) *T, k kind[T], initial T, e Effect) Key {
	return Key{Name: name, Listener: true, Effect: e, value: field[T]{func(t target) *T { return of(t.listener) }, k, initial}}
}

// shared makes the row of a key that stands at the top and, inherited from there, in a
// [[listener]].
func shared[T any](name string, of func(*Listener) *T, k kind[T], initial T, e Effect) Key {
	row := own(name, of, k, initial, e)
	row.Top, row.Inherited = true, true
	return row
}

// proxy makes the row of a key that says how clients are connected with an upstream.
func proxy[T any](name string, of func(*Proxy) *T, k kind[T], initial T) Key {
	return shared(name, func(l *Listener) *T { return of(&l.Proxy) }, k, initial, NewClients)
}

// record makes the row of a key of [record].
func record[T any](name string, of func(*Record) *T, k kind[T], initial T, e Effect) Key {
	return top(name, func(c *Config) *T { return of(&c.Record) }, k, initial, e).in("record")
}

// log makes the row of a key of [log].
func log[T any](name string, of func(*Log) *T, k kind[T], initial T, e Effect) Key {
	return top(name, func(c *Config) *T { return of(&c.Log) }, k, initial, e).in("log")
}

// forward makes the row of a key of [forward].
func forward[T any](name string, of func(*Forward) *T, k kind[T], initial T, e Effect) Key {
	return top(name, func(c *Config) *T { return of(&c.Forward) }, k, initial, e).in("forward")
}

// secured makes the row of a key of [tls] and, inherited from there, of [listener.tls].
func secured[T any](name string, of func(*TLS) *T, k kind[T], initial T) Key {
	return shared(name, func(l *Listener) *T { return of(&l.TLS) }, k, initial, NewClients).in("tls")
}

// limits makes the row of a key of [limits] that a [[listener]] has not.
func limits[T any](name string, of func(*Limits) *T, k kind[T], initial T, e Effect) Key {
	return top(name, func(c *Config) *T { return of(&c.Limits) }, k, initial, e).in("limits")
}

// ownLimits makes the row of a key of [listener.limits] alone.
func ownLimits[T any](name string, of func(*ListenerLimits) *T, k kind[T], initial T, e Effect) Key {
	return own(name, func(l *Listener) *T { return of(&l.Limits) }, k, initial, e).in("limits")
}

// perSource makes the row of a key of [limits] and [listener.limits] which both apply.
func perSource[T any](name string, of func(*PerSource) *T, k kind[T], initial T, e Effect) Key {
	return Key{Table: "limits", Name: name, Top: true, Listener: true, Effect: e,
		value: field[T]{func(t target) *T { return of(t.source) }, k, initial}}
}

// policy makes the row of a key of [limits] and, inherited from there, of [listener.limits].
func policy[T any](name string, of func(*Policy) *T, k kind[T], initial T, e Effect) Key {
	return Key{Table: "limits", Name: name, Top: true, Listener: true, Inherited: true, Effect: e,
		value: field[T]{func(t target) *T { return of(t.policy) }, k, initial}}
}

func (k Key) onTop() Key                { k.Top, k.Listener = true, false; return k }
func (k Key) alsoOnTop() Key            { k.Top = true; return k }
func (k Key) in(table string) Key       { k.Table = table; return k }
func (k Key) required() Key             { k.Required = true; return k }
func (k Key) otherwise(text string) Key { k.or = ", or " + text; return k }
