package config

import (
	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// reader makes a Config of the documents of a set.
type reader struct {
	*document.Set
	*document.Document                      // the main one
	dropIns            []*document.Document // in order
	partial            bool                 // a drop-in is missing: nothing is known of its listeners

	early bool                      // programs, users and rules are not looked up
	names map[string]document.Place // of the listeners so far
	bound []bound                   // every address of every listener, in order
}

// place is where a value stands, and what is known of the rest of the file.
type place struct {
	document.Place
	reader *reader
}

// table is one table while it is read.
type table struct {
	document.Table
	reader *reader
	of     section
	owner  string // the [[listener]] that it is, as messages name it: `listener "telnet"`
}

func (t table) place(key string) place { return place{t.At(key), t.reader} }

// read reads the keys of the table, and reports those that are missing and those that are unknown.
func (t table) read(to target) {
	for _, k := range t.of.keys() {
		if v, ok := t.Values[k.Name]; ok {
			k.value.read(to, v, t.place(k.Name))
		} else if k.Required {
			want := k.value.allowed()
			if find(section{}, k.Name) != nil {
				want += "; it is not inherited"
			}
			t.Missing(k.Name, want)
		}
	}
	rejectUnknown(t.Table, t.of, t.of.names())
}

// rejectUnknown reports all keys of a table that are not among the given names.
func rejectUnknown(t document.Table, of section, names []string) {
	for i, name := range t.Unknown(names) {
		hint := ""
		if i < fault.Most { // no more are shown
			hint = suggestion(name, of, names)
		}
		t.At(name).Fault("is not a key here%s", hint)
	}
}

// readTable reads the table [name] below this one, if there is one.
func (t table) readTable(name string, to target) {
	v, ok := t.Values[name]
	if !ok {
		return
	}
	at := t.At(name)
	of := section{t.of.listener, name}
	switch v := v.(type) {
	case map[string]any:
		table{Table: at.Table(at.Name()+".", v), reader: t.reader, of: of}.read(to)
	case []map[string]any:
		at.Want(v, "one table: "+of.header()+" in single brackets")
	default:
		want := "a table: " + of.header() + " on a line of its own"
		if _, ok := v.(bool); ok && name == "record" {
			want += "; record = true or false is a key of a [[listener]]"
		}
		at.Want(v, want)
	}
}
