package config

import (
	"fmt"
	"regexp"
	"sync"
	"time"
)

// Every key stands once in these lists: they read it, tell it from a typing error, and know where it belongs.

const (
	maxDuration   = 10 * 365 * day
	maxMaxMessage = 16 << 20
	minMaxSize    = 4 << 10
	maxMaxSize    = 1 << 50 // a petabyte: above it somebody lost count of the zeros
	maxCount      = 1_000_000
)

func topKeys(c *Config, l *Listener) []key {
	return append(append([]key{{"address", mainAddress(c)}}, sharedKeys(l)...),
		key{"drain_timeout", duration(&c.DrainTimeout, "to close clients at once")},
		key{"survive", boolean(&c.Survive)},
		key{"survive_after", duration(&c.SurviveAfter, "from the first moment")},
		key{"record", nil}, key{"log", nil}, key{"limits", nil}, key{"listener", nil})
}

// sharedKeys stand at the top and, inherited from there, in each [[listener]].
func sharedKeys(l *Listener) []key {
	return []key{
		{"backlog", number(&l.Backlog, 1, maxCount)},
		{"banner", bytesValue(&l.Banner, maxBanner, placeholders)},
		{"model", word(&l.Model, "goroutine", "thread", "process")},
		{"clients_per_process", number(&l.ClientsPerProcess, 1, maxCount)},
		{"framing", word(&l.Framing, "line", "nul", "chunk", "octet-counted", lengthPrefixed)},
		{"length_size", oneOf(&l.LengthSize, 1, 2, 4)},
		{"length_order", word(&l.LengthOrder, "big", "little")},
		{"max_message", size(&l.MaxMessage, 1, maxMaxMessage)},
		{"idle_timeout", idleTimeout(&l.IdleTimeout)},
		{"lost_timeout", lostTimeout(&l.LostTimeout)},
		{"proxy_protocol", prefixes(&l.ProxyProtocol)},
		{"ack", bytesValue(&l.Ack, maxAck, append(placeholders, "offset"))},
		{"ack_timeout", duration(&l.AckTimeout, "for none")},
		{"exec", program(&l.Exec)},
		{"exec_user", userName(&l.ExecUser)},
		{"exec_timeout", duration(&l.ExecTimeout, "for none")},
		{"exec_memory", memory(&l.ExecMemory)},
	}
}

func listenerKeys(l *Listener) []key {
	return append([]key{
		{"name", listenerName(&l.Name)},
		{"address", addresses(l)},
		{"record", boolean(&l.Record)},
		{"limits", nil},
	}, sharedKeys(l)...)
}

func recordKeys(r *Record) []key {
	return []key{
		{"file", filePath(&r.File, false)},
		{"format", word(&r.Format, "text", "json")},
		{"sync", syncTime(&r.Sync)},
		{"min_free", size(&r.MinFree, 0, maxMaxSize)},
		{"mode", mode(&r.Mode)},
		{"max_size", size(&r.MaxSize, minMaxSize, maxMaxSize)},
		{"max_backups", number(&r.MaxBackups, 0, maxCount)},
		{"max_age", days(&r.MaxAge)},
		{"compress", boolean(&r.Compress)},
		{"events", boolean(&r.Events)},
	}
}

func logKeys(l *Log) []key {
	return []key{
		{"file", filePath(&l.File, true)},
		{"level", word(&l.Level, "debug", "info", "warn", "error")},
	}
}

// config reads all tables over the defaults.
func (d *document) config(values map[string]any) Config {
	c := Default()
	main := &c.Listeners[0]
	top := table{doc: d, values: values}
	if _, ok := values["address"]; !ok {
		d.bind(place{doc: d}, *main, main.Address[0])
	}
	top.take(topKeys(&c, main))
	top.settleExec(main)
	top.read("record", "record", recordKeys(&c.Record))
	top.read("log", "log", logKeys(&c.Log))
	top.limits(&c)

	tables := append([]table{top}, d.listenerTables(top)...)
	for _, t := range tables[1:] {
		c.Listeners = append(c.Listeners, t.listener(c.Listeners[0]))
	}
	served := 0
	if a, ok := values["address"].([]any); ok && len(a) == 0 {
		served = 1
	}
	d.checkLengths(&c, tables)
	d.checkIdle(&c, tables, c.Listeners[served:])
	c.Listeners, tables = c.Listeners[served:], tables[served:]
	d.check(&c, top, tables)
	return c
}

// listenerTables are the tables of [[listener]], or of listener = [{…}, …], in their order.
func (d *document) listenerTables(top table) []table {
	var tables []table
	at := top.place("listener")
	switch v := top.values["listener"].(type) {
	case nil:
	case []map[string]any:
		for i, values := range v {
			tables = append(tables, d.listenerTable(at.item(i), i, values))
		}
	case []any:
		for i, item := range v {
			values, ok := item.(map[string]any)
			if !ok {
				at.want(item, "[[listener]] in double brackets, one for each")
				continue
			}
			tables = append(tables, d.listenerTable(at.item(i), i, values))
		}
	default:
		at.want(v, "[[listener]] in double brackets, one for each")
	}
	return tables
}

func (d *document) listenerTable(at place, i int, values map[string]any) table {
	label := fmt.Sprintf("listener %d: ", i+1)
	if name, ok := values["name"].(string); ok {
		label = fmt.Sprintf("listener %s: ", quote(name))
	}
	return table{d, at.path, label, "listener", values}
}

// listener reads one [[listener]], which has what the main listener has where it says nothing else.
func (t table) listener(main Listener) Listener {
	l := main
	l.Name, l.Address = "", nil
	t.need("name", wantName)
	t.need("address", wantAddress+"; it is not inherited")
	t.take(listenerKeys(&l))
	t.settleExec(&l)
	t.listenerLimits(&l.Limits)
	return l
}

const wantName = "1 to 64 of a-z, A-Z, 0-9, dot, dash and underscore"

// A name becomes systemd's FileDescriptorName=, which allows no colon, and stands in records and metrics.
var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`) })

func listenerName(dst *string) setter {
	return func(v any, at place) {
		s, ok := v.(string)
		switch {
		case !ok || !nameForm().MatchString(s):
			at.want(v, wantName)
		case s == MainListener:
			at.want(v, "another name: the listener of the top-level keys is called so")
		case at.doc.names[s]:
			at.want(v, "a name that no other listener has")
		default:
			at.doc.names[s] = true
			*dst = s
		}
	}
}

const minLost, maxLost = 10 * time.Second, 2 * time.Hour

// lostTimeout takes whole seconds: the kernel does not count keepalive in smaller ones.
func lostTimeout(dst *time.Duration) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		d, ok := parseDuration(s)
		if !ok || d < minLost || d > maxLost || d%time.Second != 0 {
			at.want(v, fmt.Sprintf("whole seconds from %q to %q", formatDuration(minLost), formatDuration(maxLost)))
			return
		}
		*dst = d
	}
}

func idleTimeout(dst *time.Duration) setter {
	return func(v any, at place) {
		duration(dst, "for none")(v, at)
		if 0 < *dst && *dst < time.Second {
			at.warn("is %s: most clients are closed before they have said anything", show(v))
		}
	}
}
