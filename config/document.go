package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// document is one file while it is read: where its values stand, and the errors found so far.
type document struct {
	file     string
	lines    map[string]int    // by path, see keyPath
	bare     map[string]string // numbers as they are written, by path
	latin    map[string]string // escapes of characters that may have been meant for bytes, by path
	failed   map[string]bool   // paths with an error: what depends on them is not checked
	names    map[string]bool   // of the listeners so far
	early    bool              // programs, users and rules are not looked up
	bound    []bound           // every address of every listener, in order
	faults   Faults
	warnings Faults
}

// place is where a value stands, and how messages name it.
type place struct {
	doc  *document
	path string
	name string // as in a message: `listener "telnet": backlog`
	line int    // for messages if nothing stands at path: that of the table that inherits the value
}

// at returns the place of a key outside of [[listener]] tables.
func (d *document) at(keys ...string) place {
	path := ""
	for _, k := range keys {
		path = keyPath(path, k)
	}
	return place{doc: d, path: path, name: strings.Join(keys, ".")}
}

// item returns the place of an element of an array. It has a line of its own, and the array's name.
func (p place) item(i int) place {
	p.path = itemPath(p.path, i)
	return p
}

// want reports that the value is not what is allowed. It returns false, so that a reader can return
// the result.
func (p place) want(got any, want string) bool {
	return p.fault("is %s, want %s", p.written(got), want)
}

// written returns the value at p as its author wrote it: 0o640, not 416.
func (p place) written(v any) string {
	switch v.(type) {
	case int64, float64:
		if text := p.doc.bare[p.path]; text != "" && len(text) <= maxShown {
			return text
		}
	}
	return show(v)
}

// fault reports an error, and returns false. The message is the name of p and then the format.
func (p place) fault(format string, args ...any) bool {
	p.doc.faults = append(p.doc.faults, p.message(format, args))
	p.doc.failed[p.path] = true
	return false
}

// warn reports what is allowed but most likely a mistake.
func (p place) warn(format string, args ...any) {
	p.doc.warnings = append(p.doc.warnings, p.message(format, args))
}

func (p place) message(format string, args []any) Fault {
	line := cmp.Or(p.doc.lines[p.path], p.line)
	return Fault{p.doc.file, line, p.name + " " + fmt.Sprintf(format, args...)}
}

// sorted sorts messages by line, those about other files last, and drops repeated ones.
func (d *document) sorted(f Faults) Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(d.rank(a), d.rank(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(f)
}

// rank returns 0 for a message about the configuration itself, 1 for one about a file that it
// names.
func (d *document) rank(f Fault) int {
	if f.File == d.file {
		return 0
	}
	return 1
}

// table is one TOML table while it is read.
type table struct {
	doc    *document
	path   string
	name   string // before a key in a message: "record." or `listener "telnet": `
	of     section
	values map[string]any
}

func (t table) place(key string) place {
	name := key
	if strings.ContainsFunc(key, func(r rune) bool { return r > 0x7f || !isBare(byte(r)) }) || key == "" || len(key) > maxShown {
		name = quote(key)
	}
	return place{doc: t.doc, path: keyPath(t.path, key), name: t.name + name}
}

// setting returns the place of the value that a key has in the table: that of the key, or, where a
// [[listener]] inherits the value, that of the [[listener]] with a name that says from which line.
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

// origin returns what follows the name of another key in a message: the line that its value is
// inherited from, or nothing where the value is the table's own or a default.
func (t table) origin(keys ...string) string {
	path := t.doc.at(keys...).path
	if t.doc.lines[t.path+path] > 0 {
		return ""
	}
	return inheritedFrom(t.doc.lines[path])
}

// inheritedFrom returns "" for line 0: a default stands on no line.
func inheritedFrom(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(" (inherited from line %d)", line)
}

// read reads the keys of the table, and reports those that are missing and those that are unknown.
func (t table) read(to target) {
	for _, k := range t.of.keys() {
		if v, ok := t.values[k.Name]; ok {
			k.value.read(to, v, t.place(k.Name))
		} else if k.Required {
			want := k.value.allowed()
			if find(section{}, k.Name) != nil {
				want += "; it is not inherited"
			}
			t.missing(k.Name, want)
		}
	}
	t.rejectUnknown(t.of.names())
}

// missing reports that the table has no such key, and returns false.
func (t table) missing(key, want string) bool {
	return place{doc: t.doc, path: t.path, name: t.name + key}.fault("is missing, want %s", want)
}

// rejectUnknown reports all keys that are not among the given names.
func (t table) rejectUnknown(names []string) {
	for i, name := range t.unknown(names) {
		hint := ""
		if i < maxFaults { // no more are shown
			hint = suggestion(name, t.of, names)
		}
		t.place(name).fault("is not a key here%s", hint)
	}
}

// unknown returns the keys of the table that are not among the given names, in the order of their
// lines.
func (t table) unknown(names []string) (unknown []string) {
	for name := range t.values {
		if !slices.Contains(names, name) {
			unknown = append(unknown, name)
		}
	}
	slices.SortFunc(unknown, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.doc.lines[keyPath(t.path, a)], t.doc.lines[keyPath(t.path, b)]), cmp.Compare(a, b))
	})
	return unknown
}

// readTable reads the table [name] below this one, if there is one.
func (t table) readTable(name string, to target) {
	v, ok := t.values[name]
	if !ok {
		return
	}
	at := t.place(name)
	of := section{t.of.listener, name}
	switch v := v.(type) {
	case map[string]any:
		table{t.doc, at.path, at.name + ".", of, v}.read(to)
	case []map[string]any:
		at.want(v, "one table: "+of.header()+" in single brackets")
	default:
		want := "a table: " + of.header() + " on a line of its own"
		if _, ok := v.(bool); ok && name == "record" {
			want += "; record = true or false is a key of a [[listener]]"
		}
		at.want(v, want)
	}
}
