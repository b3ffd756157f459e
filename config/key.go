package config

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// Key is one key of the configuration, with all that this package, the daemon and the documents
// know about it. Its value is never changed.
type Key struct {
	// Table is the table that holds the key, such as "record". It is "" for the keys before the
	// first table, and for those of a [[listener]] but its own tables "tls"
	// and "limits".
	Table string
	// Name is the key as it is written in a file.
	Name string
	// Top reports whether the key may stand outside of [[listener]] tables.
	Top bool
	// Listener reports whether the key may stand in a [[listener]].
	Listener bool
	// Inherited reports whether a [[listener]] without the key has the value of the top level.
	Inherited bool
	// Required reports whether the key has no default, so that a [[listener]] must have it.
	Required bool
	// Effect is when a change takes effect.
	Effect Effect

	value value
	or    string // continues the default in Summary, such as ", or false with exec"
}

// Effect is when a setting that a reload has changed takes effect.
type Effect string

const (
	// Now is for all clients, also those that are connected.
	Now Effect = "now"
	// NewClients is for clients that connect after the reload. Others keep the value they began
	// with.
	NewClients Effect = "new clients"
	// Restart is when the sockets are opened again, or the daemon is started again.
	Restart Effect = "restart"
)

// Keys returns all keys in the order of a file. A key that means something else in a [[listener]]
// than at the top is there twice. The result must not be changed.
func Keys() []Key { return keys() }

// Path returns the key with its table, such as "banner" or "record.file".
func (k *Key) Path() string {
	if k.Table == "" {
		return k.Name
	}
	return k.Table + "." + k.Name
}

// Default returns the default as it is written in a file. It is "" for a key that is Required.
func (k *Key) Default() string {
	if k.Required {
		return ""
	}
	var c Config
	var l Listener
	to := listenerTarget(&c, &l)
	k.value.reset(to)
	return k.value.write(to)
}

// Summary returns the line that begins the key's description in tcpmux.toml(5): its type and range,
// its default, and the effect of a reload.
func (k *Key) Summary() string {
	initial := "Default: " + k.Default() + k.or + "."
	if k.Required {
		initial = "Required."
	}
	return k.allowed() + " " + initial + " " + k.Effect.sentence()
}

// Range returns Summary without the default. It stands above each key in the shipped file.
func (k *Key) Range() string { return k.allowed() + " " + k.Effect.sentence() }

// allowed returns the type and range as a sentence.
func (k *Key) allowed() string {
	s := k.value.allowed()
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[n:] + "."
}

func (e Effect) sentence() string {
	switch e {
	case Now:
		return "A reload applies it at once."
	case NewClients:
		return "A reload applies it to new clients."
	}
	return "A change needs a restart."
}

// find returns the key of a section by its name, and nil when there is none.
func find(s section, name string) *Key {
	for _, k := range s.keys() {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// section is a kind of table in a file.
type section struct {
	listener bool   // whether it is a [[listener]] or below one
	table    string // as Key.Table
}

// keys returns the keys that a table of this kind may have.
func (s section) keys() (list []*Key) {
	all := keys()
	for i := range all {
		k := &all[i]
		if k.Table == s.table && (s.listener && k.Listener || !s.listener && k.Top) {
			list = append(list, k)
		}
	}
	return list
}

// topTables are the tables of a file but for [[listener]], in the order of a file.
var topTables = []string{"record", "log", "status", "forward", "tls", "limits"}

// ownTables are the tables of a [[listener]], in the order of a file.
var ownTables = []string{"tls", "limits"}

// tables returns the names of the tables that a table of this kind may have.
func (s section) tables() []string {
	switch s {
	case section{}:
		return append(slices.Clip(topTables), "listener")
	case section{listener: true}:
		return ownTables
	}
	return nil
}

// names returns all that may stand in a table of this kind.
func (s section) names() (list []string) {
	for _, k := range s.keys() {
		list = append(list, k.Name)
	}
	return append(list, s.tables()...)
}

// header returns the line that begins a table of this kind.
func (s section) header() string {
	switch {
	case s.listener && s.table == "":
		return "[[listener]]"
	case s.listener:
		return "[listener." + s.table + "]"
	}
	return "[" + s.table + "]"
}

// target is the part of a configuration that the keys of one section set.
type target struct {
	config   *Config
	listener *Listener
	source   *PerSource
	policy   *Policy
}

// topTarget is the target of all keys outside of [[listener]] tables. main is the main listener.
func topTarget(c *Config, main *Listener) target {
	return target{c, main, &c.Limits.PerSource, &c.Limits.Policy}
}

// listenerTarget is the target of the keys of a [[listener]].
func listenerTarget(c *Config, l *Listener) target {
	return target{c, l, &l.Limits.PerSource, &l.Limits.Policy}
}

// value is what a key does, whatever the type of its value.
type value interface {
	// allowed returns the type and range in words that can follow "want".
	allowed() string
	// read stores a decoded TOML value, or reports at its place what is wrong with it.
	read(to target, v any, at place)
	// write returns the value as it is written in a file.
	write(from target) string
	// reset stores the default.
	reset(to target)
	// inherit stores the value of another target.
	inherit(to, from target)
}

// field is the value of a key that sets one field of a configuration.
type field[T any] struct {
	of      func(target) *T
	kind    kind[T]
	initial T
}

func (f field[T]) allowed() string          { return f.kind.allowed }
func (f field[T]) write(from target) string { return f.kind.write(*f.of(from)) }
func (f field[T]) reset(to target)          { *f.of(to) = f.initial }
func (f field[T]) inherit(to, from target)  { *f.of(to) = *f.of(from) }

func (f field[T]) read(to target, v any, at place) {
	if x, ok := f.kind.read(v, at); ok {
		*f.of(to) = x
	}
}
