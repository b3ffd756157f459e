package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// document is one file on its way to a Config: where its values stand and what is wrong with them so far.
type document struct {
	file     string
	lines    map[string]int    // by path, see keyPath
	bare     map[string]string // numbers as they are written, by path
	latin    map[string]string // escapes of characters that may have been meant for bytes, by path
	failed   map[string]bool   // paths with a fault: what depends on them is not judged
	names    map[string]bool   // of the listeners so far
	early    bool              // programs and users are not looked up
	bound    []bound           // every address of every listener, in order
	faults   Faults
	warnings Faults
}

// place is where a value stands and how its author knows it.
type place struct {
	doc  *document
	path string
	name string // as in a message: `listener "telnet": backlog`
	line int    // of what inherits the value, where nothing stands at path; 0 elsewhere
}

// at is the place of a key that is no listener's.
func (d *document) at(keys ...string) place {
	path := ""
	for _, k := range keys {
		path = keyPath(path, k)
	}
	return place{doc: d, path: path, name: strings.Join(keys, ".")}
}

// item is the place of an element of an array: found by its own line, known by the array's name.
func (p place) item(i int) place {
	p.path = itemPath(p.path, i)
	return p
}

// want is the fault of a value that is not what is allowed.
func (p place) want(got any, want string) { p.fault("is %s, want %s", p.written(got), want) }

// written shows the value at p as its author wrote it: 0o640, not 416.
func (p place) written(v any) string {
	switch v.(type) {
	case int64, float64:
		if text := p.doc.bare[p.path]; text != "" && len(text) <= maxShown {
			return text
		}
	}
	return show(v)
}

// fault is any other fault; format goes on after the name.
func (p place) fault(format string, args ...any) {
	p.doc.faults = append(p.doc.faults, p.told(format, args))
	p.doc.failed[p.path] = true
}

// warn is what is legal and yet most likely a mistake.
func (p place) warn(format string, args ...any) {
	p.doc.warnings = append(p.doc.warnings, p.told(format, args))
}

// told is what is to be said about p, with the line of p in front.
func (p place) told(format string, args []any) Fault {
	line := cmp.Or(p.doc.lines[p.path], p.line)
	return Fault{p.doc.file, line, p.name + " " + fmt.Sprintf(format, args...)}
}

// sorted puts faults in the order of their lines, those of other files last, and drops those that say the same.
func (d *document) sorted(f Faults) Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(d.rank(a), d.rank(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(f)
}

// rank is 0 for a fault of the configuration itself, 1 for one of a file that it names.
func (d *document) rank(f Fault) int {
	if f.File == d.file {
		return 0
	}
	return 1
}

// key is one key of a table: how its value is taken.
type key struct {
	name string
	// set takes the value, or says at the place why not. nil for a table, which is read on its own.
	set setter
}

// setter stores a decoded TOML value in a Config, or says at its place what is allowed instead.
type setter func(v any, at place)

// table is one TOML table while it is read.
type table struct {
	doc    *document
	path   string
	name   string // before a key in a message: "record." or `listener "telnet": `
	home   string // whose keys these are: "", "record", …, "listener", "listener.limits"
	values map[string]any
}

func (t table) place(key string) place {
	name := key
	if strings.ContainsFunc(key, func(r rune) bool { return r > 0x7f || !isBare(byte(r)) }) || key == "" || len(key) > maxShown {
		name = quote(key)
	}
	return place{doc: t.doc, path: keyPath(t.path, key), name: t.name + name}
}

// setting is the place of the value that a key has in the table: its own, or, where a [[listener]] inherits it, the head of
// the [[listener]]. The name then has the line of the value too, so that both are found.
func (t table) setting(keys ...string) place {
	at := t.doc.at(keys...)
	inherited := t.doc.lines[at.path]
	at.path, at.name = t.path+at.path, t.name+at.name
	if t.doc.lines[at.path] == 0 {
		at.line = t.doc.lines[t.path]
		at.name += inheritedFrom(inherited)
	}
	return at
}

// origin is what to say behind the name of a key that is not the one that a message is about: where its value is inherited
// from, and nothing where it is the table's own, or a default.
func (t table) origin(keys ...string) string {
	path := t.doc.at(keys...).path
	if t.doc.lines[t.path+path] > 0 {
		return ""
	}
	return inheritedFrom(t.doc.lines[path])
}

// inheritedFrom is "" for line 0, which is that of a default.
func inheritedFrom(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(" (inherited from line %d)", line)
}

// take reads the given keys and refuses all others.
func (t table) take(keys []key) {
	for _, k := range keys {
		if v, ok := t.values[k.name]; ok && k.set != nil {
			k.set(v, t.place(k.name))
		}
	}
	for name := range t.values {
		if !slices.ContainsFunc(keys, func(k key) bool { return k.name == name }) {
			t.place(name).fault("is no key here%s", suggestion(name, t.home, keys))
		}
	}
}

// need is the fault of a table without a key that it must have.
func (t table) need(key, want string) {
	if _, ok := t.values[key]; !ok {
		place{doc: t.doc, path: t.path, name: t.name + key}.fault("is missing, want %s", want)
	}
}

// read takes the keys of the table [name], if it is there; home is whose they are.
func (t table) read(name, home string, keys []key) {
	v, ok := t.values[name]
	if !ok {
		return
	}
	at := t.place(name)
	switch v := v.(type) {
	case map[string]any:
		table{t.doc, at.path, at.name + ".", home, v}.take(keys)
	case []map[string]any:
		at.want(v, fmt.Sprintf("one table: [%s] in single brackets", home))
	default:
		want := fmt.Sprintf("a table: [%s] on a line of its own", home)
		if _, ok := v.(bool); ok && home == "record" {
			want += "; whether clients are recorded stands in a [[listener]]"
		}
		at.want(v, want)
	}
}
