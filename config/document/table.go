package document

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tcpmux/config/fault"
)

// Table is one table of a document.
type Table struct {
	doc    *Document
	path   string
	prefix string // before a key in a message: "record." or `listener "telnet": `
	// Values are what the TOML library decodes, by key. They must not be changed.
	Values map[string]any
}

// At returns the place of a key of the table, which need not be there.
func (t Table) At(key string) Place {
	name := key
	if strings.ContainsFunc(key, func(r rune) bool { return r > 0x7f || !isBare(byte(r)) }) || key == "" || len(key) > fault.MaxShown {
		name = fault.Quote(key)
	}
	return Place{doc: t.doc, path: keyPath(t.path, key), name: t.prefix + name}
}

// File returns the file that the table is in.
func (t Table) File() string { return t.doc.file }

// Setting returns the place of the value that a key has in a table that inherits from the main
// document's top table: that of the key, or, where the table inherits the value, that of the table
// with a name that says from which line. With several keys the last is one of a table below.
func (t Table) Setting(keys ...string) Place {
	at := t.doc.At(keys...)
	key := at.path
	at.path, at.name = t.path+key, t.prefix+at.name
	if t.doc.lines[at.path] == 0 {
		at.line = t.doc.lines[t.path]
		at.name += t.inheritedFrom(key)
	}
	return at
}

// Origin returns what follows the name of another key in a message: the line that its value is
// inherited from, or nothing where the value is the table's own or a default. Its keys are those of
// Setting.
func (t Table) Origin(keys ...string) string {
	path := t.doc.At(keys...).path
	if t.doc.lines[t.path+path] > 0 {
		return ""
	}
	return t.inheritedFrom(path)
}

// inheritedFrom returns "" where nothing stands at the path in the main document: a default stands
// on no line. It names the main file if the table is in another.
func (t Table) inheritedFrom(path string) string {
	main := t.doc.set.main
	line := main.lines[path]
	switch {
	case line == 0:
		return ""
	case main == t.doc:
		return fmt.Sprintf(" (inherited from line %d)", line)
	}
	return fmt.Sprintf(" (inherited from %s:%d)", fault.Printable(main.file), line)
}

// Missing reports that the table has no such key, and returns false.
func (t Table) Missing(key, want string) bool {
	return Place{doc: t.doc, path: t.path, name: t.prefix + key}.Fault("is missing, want %s", want)
}

// Unknown returns the keys of the table that are not among the given names, in the order of their
// lines.
func (t Table) Unknown(names []string) (unknown []string) {
	for name := range t.Values {
		if !slices.Contains(names, name) {
			unknown = append(unknown, name)
		}
	}
	slices.SortFunc(unknown, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.doc.lines[keyPath(t.path, a)], t.doc.lines[keyPath(t.path, b)]), cmp.Compare(a, b))
	})
	return unknown
}
