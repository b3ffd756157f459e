package config

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// Setting is one key with its value.
type Setting struct {
	*Key
	// Listener is the name of the [[listener]] that has the setting; "" for all other settings.
	Listener string
	// Source is the file in which that [[listener]] stands.
	Source string
	// Value is the value as it is written in a file.
	Value string
}

// Title returns the setting as people name it: banner, record.file, listener "telnet": banner.
func (s Setting) Title() string {
	if s.Listener != "" {
		return fmt.Sprintf("listener %q: %s", s.Listener, s.Path())
	}
	return s.Path()
}

// Settings returns all keys with their values, in the order of a file, also those that have their
// default or are inherited.
func (c Config) Settings() (all []Setting) {
	var absent Listener
	main, others := &absent, c.Listeners
	if len(others) > 0 && others[0].Name == MainListener {
		main, others = &others[0], others[1:]
	}
	top := topTarget(&c, main)
	for _, table := range append([]string{""}, topTables...) {
		for _, k := range (section{table: table}).keys() {
			if main == &absent && k.Inherited && k.Table != "limits" {
				continue // there is nobody to have it
			}
			all = append(all, Setting{Key: k, Value: k.value.write(top)})
		}
	}
	for i := range others {
		l := &others[i]
		for _, table := range append([]string{""}, ownTables...) {
			for _, k := range (section{listener: true, table: table}).keys() {
				all = append(all, Setting{k, l.Name, l.Source, k.value.write(listenerTarget(&c, l))})
			}
		}
	}
	return all
}

// WriteTOML writes the effective configuration: every key with its value, also where that is the
// default or inherited. Parse reads it back as an equal Config, but for Path, Warnings, and what
// stands in which file: it is one text. c must come from Load or Default. The text holds no control
// character but newlines. The error is w's, if any; w is written to once.
func (c Config) WriteTOML(w io.Writer) error { return c.writeTOML(w, false) }

// WriteAnnotated is WriteTOML with a comment above each [[listener]] that names its file, if there
// are drop-ins.
func (c Config) WriteAnnotated(w io.Writer) error { return c.writeTOML(w, len(c.DropIns) > 0) }

func (c Config) writeTOML(w io.Writer, sources bool) error {
	var b bytes.Buffer
	table := ""
	for _, s := range c.Settings() {
		name := s.Name
		switch {
		case s.Listener != "" && s.Table == "" && s.Name == "name":
			b.WriteString("\n")
			if sources {
				fmt.Fprintf(&b, "# from %s\n", fault.Printable(s.Source))
			}
			b.WriteString("[[listener]]\n")
		case s.Listener != "":
			name = s.Path()
		case s.Table != table:
			fmt.Fprintf(&b, "\n[%s]\n", s.Table)
		}
		table = s.Table
		note := ""
		if s.Path() == "record.file" && c.Record.File == Stdout {
			note = " # standard output"
		}
		fmt.Fprintf(&b, "%s = %s%s\n", name, s.Value, note)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Change is a setting that differs between two configurations.
type Change struct {
	Setting
	// From and To are the values as they are written in a file. One is "" where only the other
	// configuration has the setting.
	From, To string
}

// TakesEffect returns when the change takes effect: that of its key, but a listener's own file is
// replaced by another one at once.
func (c Change) TakesEffect() Effect {
	none := document.QuoteTOML("")
	if c.Listener != "" && c.Name == "file" && c.From != none && c.To != none {
		return Now
	}
	return c.Effect
}

// Diff returns the settings that differ, in the order of new, followed by those that only old has.
// A [[listener]] that only one of them has is a single change, of its name.
func Diff(old, new Config) (changes []Change) {
	before := make(map[string]Setting)
	for _, s := range old.Settings() {
		before[s.Title()] = s
	}
	known := func(all Config, name string) bool {
		return name == "" || slices.ContainsFunc(all.Listeners, func(l Listener) bool { return l.Name == name })
	}
	for _, s := range new.Settings() {
		was, both := before[s.Title()]
		delete(before, s.Title())
		if both && was.Value != s.Value || !both && (s.Name == "name" || known(old, s.Listener)) {
			changes = append(changes, Change{new.unlessMuxed(s), was.Value, s.Value})
		}
	}
	for _, s := range old.Settings() {
		if _, only := before[s.Title()]; only && (s.Name == "name" || known(new, s.Listener)) {
			changes = append(changes, Change{old.unlessMuxed(s), s.Value, ""})
		}
	}
	return changes
}

// unlessMuxed returns a setting, which is the name of a listener or another one. Where c has the
// listener without an address, to add or remove it takes no restart.
func (c Config) unlessMuxed(s Setting) Setting {
	muxed := func(l Listener) bool { return l.Name == s.Listener && len(l.Address) == 0 }
	if s.Name != "name" || !slices.ContainsFunc(c.Listeners, muxed) {
		return s
	}
	k := *s.Key
	k.Effect = NewClients
	s.Key = &k
	return s
}
