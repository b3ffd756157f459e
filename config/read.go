package config

import (
	"fmt"
	"regexp"
	"sync"

	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// config reads all tables of all documents over the defaults.
func (r *reader) config() Config {
	c := Default()
	main := &c.Listeners[0]
	top := table{Table: r.Top(), reader: r}
	main.Source = top.File()
	to := topTarget(&c, main)
	if top.Values["address"] == nil {
		r.bind(top.At("address"), main.Address[0], false)
	}
	top.read(to)
	for _, name := range topTables {
		top.readTable(name, to)
	}
	top.applyService(main)
	top.checkPolicy(c.Limits.Policy)
	main.Limits.Policy = c.Limits.Policy

	tables := append([]table{top}, r.listenerTables(top)...)
	for _, d := range r.dropIns {
		tables = append(tables, r.dropInTables(d)...)
		c.DropIns = append(c.DropIns, d.Top().File())
	}
	for _, t := range tables[1:] {
		c.Listeners = append(c.Listeners, t.listener(&c))
	}
	served := 0
	if a, ok := top.Values["address"].([]any); ok && len(a) == 0 {
		served = 1
	}
	r.checkFramings(&c, tables)
	r.warnOfUnused(&c, tables, c.Listeners[served:])
	r.warnOfUnusedTLS(&c, tables, c.Listeners[served:])
	c.Listeners, tables = c.Listeners[served:], tables[served:]
	for i, t := range tables {
		t.checkFraming(c.Listeners[i])
	}
	r.check(&c, top, tables)
	return c
}

// listenerTables returns the tables of [[listener]], or of listener = [{…}, …], in their order.
func (r *reader) listenerTables(top table) []table {
	const want = "[[listener]] in double brackets, one for each listener"
	var tables []table
	at := top.At("listener")
	switch v := top.Values["listener"].(type) {
	case nil:
	case []map[string]any:
		for i, values := range v {
			tables = append(tables, r.listenerTable(at.Item(i), i, values))
		}
	case []any:
		for i, item := range v {
			values, ok := item.(map[string]any)
			if !ok {
				at.Want(item, want)
				continue
			}
			tables = append(tables, r.listenerTable(at.Item(i), i, values))
		}
	default:
		at.Want(v, want)
	}
	return tables
}

func (r *reader) listenerTable(at document.Place, i int, values map[string]any) table {
	owner := fmt.Sprintf("listener %d", i+1)
	if name, ok := values["name"].(string); ok {
		owner = fmt.Sprintf("listener %s", fault.Quote(name))
	}
	return table{at.Table(owner+": ", values), r, section{listener: true}, owner}
}

// listener reads one [[listener]]. c holds all that was read from the top-level keys.
func (t table) listener(c *Config) Listener {
	l := Listener{Source: t.File()}
	to, from := listenerTarget(c, &l), topTarget(c, &c.Listeners[0])
	for _, k := range keys() {
		switch {
		case k.Inherited && !(k.Table == "tls" && t.clearText()):
			k.value.inherit(to, from)
		case k.Listener:
			k.value.reset(to)
		}
	}
	t.read(to)
	for _, name := range ownTables {
		t.readTable(name, to)
	}
	t.applyService(&l)
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
			return "", at.Want(v, allowed)
		case s == MainListener:
			return "", at.Want(v, "another name: this one is the listener of the top-level keys")
		case s == ControlSocket || s == StatusSocket:
			return "", at.Want(v, "another name: this one is a socket that is no listener's")
		}
		if other, taken := at.reader.names[s]; taken {
			return "", at.Want(v, "a name that no other listener has: "+other.Seen(at.Place)+" has it")
		}
		at.reader.names[s] = at.Place
		return s, true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`) })
