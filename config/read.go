package config

import (
	"fmt"
	"regexp"
	"sync"
)

// config reads all tables over the defaults.
func (d *document) config(values map[string]any) Config {
	c := Default()
	main := &c.Listeners[0]
	top := table{doc: d, values: values}
	to := topTarget(&c, main)
	if address := top.place("address"); values["address"] == nil {
		address.path = "" // it has no line
		d.bind(address, main.Address[0])
	}
	top.read(to)
	for _, name := range []string{"record", "log", "limits"} {
		top.readTable(name, to)
	}
	top.applyExec(main)
	top.checkPolicy(c.Limits.Policy)
	main.Limits.Policy = c.Limits.Policy

	tables := append([]table{top}, d.listenerTables(top)...)
	for _, t := range tables[1:] {
		c.Listeners = append(c.Listeners, t.listener(&c))
	}
	served := 0
	if a, ok := values["address"].([]any); ok && len(a) == 0 {
		served = 1
	}
	d.checkLengths(&c, tables)
	d.warnOfUnused(&c, tables, c.Listeners[served:])
	c.Listeners, tables = c.Listeners[served:], tables[served:]
	d.check(&c, top, tables)
	return c
}

// listenerTables returns the tables of [[listener]], or of listener = [{…}, …], in their order.
func (d *document) listenerTables(top table) []table {
	const want = "[[listener]] in double brackets, one for each listener"
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
				at.want(item, want)
				continue
			}
			tables = append(tables, d.listenerTable(at.item(i), i, values))
		}
	default:
		at.want(v, want)
	}
	return tables
}

func (d *document) listenerTable(at place, i int, values map[string]any) table {
	label := fmt.Sprintf("listener %d: ", i+1)
	if name, ok := values["name"].(string); ok {
		label = fmt.Sprintf("listener %s: ", quote(name))
	}
	return table{d, at.path, label, section{listener: true}, values}
}

// listener reads one [[listener]]. c holds all that was read from the top-level keys.
func (t table) listener(c *Config) Listener {
	var l Listener
	to, from := listenerTarget(c, &l), topTarget(c, &c.Listeners[0])
	for _, k := range keys() {
		switch {
		case k.Inherited:
			k.value.inherit(to, from)
		case k.Listener:
			k.value.reset(to)
		}
	}
	t.read(to)
	t.readTable("limits", to)
	t.applyExec(&l)
	t.checkPolicy(l.Limits.Policy)
	return l
}

// A name becomes systemd's FileDescriptorName=, which allows no colon, and stands in records.
func listenerName() kind[string] {
	const allowed = "1 to 64 letters (a-z, A-Z), digits, dots, dashes and underscores"
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		switch {
		case !ok || !nameForm().MatchString(s):
			return "", at.want(v, allowed)
		case s == MainListener:
			return "", at.want(v, "another name: this one is the listener of the top-level keys")
		case at.doc.names[s]:
			return "", at.want(v, "a name that no other listener has")
		}
		at.doc.names[s] = true
		return s, true
	}
	return kind[string]{allowed, read, quoteTOML}
}

var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`) })
