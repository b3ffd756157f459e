package config

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// Setting is one key of a configuration with its value.
type Setting struct {
	// Listener is the name of the [[listener]] that the key belongs to; "" for all other keys.
	Listener string
	// Table is "record", "log" or "limits", which a [[listener]] has too; "" for the keys at the top and the others of a [[listener]].
	Table string
	// Key is the key as files have it.
	Key string
	// Value is the value as files have it.
	Value string
}

// Name is the setting as people speak of it: banner, record.file, listener "telnet": banner.
func (s Setting) Name() string {
	if s.Listener != "" {
		return fmt.Sprintf("listener %q: %s", s.Listener, s.Path())
	}
	return s.Path()
}

// Path is the key with the table that it is in: banner, record.file, whichever listener it is of.
func (s Setting) Path() string {
	if s.Table != "" {
		return s.Table + "." + s.Key
	}
	return s.Key
}

// Settings are all keys with their values, in the order of a file, also those that have their default or are inherited.
func (c Config) Settings() []Setting {
	var main []Setting
	others := c.Listeners
	if len(others) > 0 && others[0].Name == MainListener {
		main = append(list("", "", "address", addressTOML(others[0].Address)), others[0].shared("")...)
		others = others[1:]
	} else {
		main = list("", "", "address", "[]")
	}
	all := append(main, list("", "",
		"drain_timeout", quoteTOML(formatDuration(c.DrainTimeout)),
		"survive", c.Survive,
		"survive_after", quoteTOML(formatDuration(c.SurviveAfter)))...)
	all = append(all, c.Record.settings()...)
	all = append(all, list("", "log", "file", quoteTOML(c.Log.File), "level", quoteTOML(c.Log.Level))...)
	all = append(all, c.Limits.settings()...)
	for _, l := range others {
		all = append(all, list(l.Name, "", "name", quoteTOML(l.Name), "address", addressTOML(l.Address), "record", l.Record)...)
		all = append(all, l.shared(l.Name)...)
		all = append(all, l.Limits.settings(l.Name)...)
	}
	return all
}

func (l Listener) shared(name string) []Setting {
	return list(name, "",
		"backlog", l.Backlog,
		"banner", l.Banner,
		"model", quoteTOML(l.Model),
		"clients_per_process", l.ClientsPerProcess,
		"framing", quoteTOML(l.Framing),
		"length_size", l.LengthSize,
		"length_order", quoteTOML(l.LengthOrder),
		"max_message", quoteTOML(formatSize(l.MaxMessage)),
		"idle_timeout", quoteTOML(formatDuration(l.IdleTimeout)),
		"lost_timeout", quoteTOML(formatDuration(l.LostTimeout)),
		"proxy_protocol", prefixesTOML(l.ProxyProtocol),
		"ack", l.Ack,
		"ack_timeout", quoteTOML(formatDuration(l.AckTimeout)),
		"exec", arrayTOML(l.Exec),
		"exec_user", quoteTOML(l.ExecUser),
		"exec_timeout", quoteTOML(formatDuration(l.ExecTimeout)),
		"exec_memory", quoteTOML(formatSize(l.ExecMemory)))
}

func (r Record) settings() []Setting {
	return list("", "record",
		"file", quoteTOML(r.File),
		"format", quoteTOML(r.Format),
		"sync", quoteTOML(formatSync(r.Sync)),
		"min_free", quoteTOML(formatSize(r.MinFree)),
		"mode", quoteTOML(fmt.Sprintf("%04o", r.Mode)),
		"max_size", quoteTOML(formatSize(r.MaxSize)),
		"max_backups", r.MaxBackups,
		"max_age", quoteTOML(formatDuration(r.MaxAge)),
		"compress", r.Compress,
		"events", r.Events)
}

// list makes settings of alternating keys and values.
func list(listener, table string, pairs ...any) (all []Setting) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Setting{listener, table, pairs[i].(string), fmt.Sprint(pairs[i+1])})
	}
	return all
}

// WriteTOML writes the effective configuration: every key with its value, also where it is the default or inherited. Load
// reads it back as an equal Config, but for Path and Warnings. c must come from Load or Default. The text holds no control
// character but newlines. The error is w's, if any; w is written to once.
func (c Config) WriteTOML(w io.Writer) error {
	var b bytes.Buffer
	table := ""
	for _, s := range c.Settings() {
		switch {
		case s.Listener != "" && s.Key == "name":
			b.WriteString("\n[[listener]]\n")
		case s.Listener != "" && s.Table != "":
			s.Key = s.Path()
		case s.Table != table && s.Listener == "":
			fmt.Fprintf(&b, "\n[%s]\n", s.Table)
		}
		table = s.Table
		fmt.Fprintf(&b, "%s = %s\n", s.Key, s.Value)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Change is a setting that differs between two configurations.
type Change struct {
	Setting
	// From and To are the values as files have them; "" on the side that does not have the setting.
	From, To string
}

// Diff returns what differs, in the order of new and then, for what is only in old, of old. A [[listener]] that only one has
// is one change, of its name.
func Diff(old, new Config) (changes []Change) {
	before := make(map[string]Setting)
	for _, s := range old.Settings() {
		before[s.Name()] = s
	}
	known := func(all Config, name string) bool {
		return name == "" || slices.ContainsFunc(all.Listeners, func(l Listener) bool { return l.Name == name })
	}
	for _, s := range new.Settings() {
		was, both := before[s.Name()]
		delete(before, s.Name())
		if both && was.Value != s.Value || !both && (s.Key == "name" || known(old, s.Listener)) {
			changes = append(changes, Change{s, was.Value, s.Value})
		}
	}
	for _, s := range old.Settings() {
		if _, only := before[s.Name()]; only && (s.Key == "name" || known(new, s.Listener)) {
			changes = append(changes, Change{s, s.Value, ""})
		}
	}
	return changes
}

func addressTOML(list []string) string {
	if len(list) == 1 {
		return quoteTOML(list[0])
	}
	return arrayTOML(list)
}

func arrayTOML(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quoteTOML(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

var escapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// quoteTOML writes a basic string. strconv.Quote will not do: it writes \a, \v and \x80, which TOML does not know or means
// otherwise.
func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch e, ok := escapes[r]; {
		case ok:
			b.WriteString(e)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
