package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteTOML writes the effective configuration: every key with its value, also where it is the default or inherited. Load
// reads it back as an equal Config, but for Path and Warnings. c must come from Load or Default. The text holds no control
// character but newlines. The error is w's, if any; w is written to once.
func (c Config) WriteTOML(w io.Writer) error {
	var b bytes.Buffer
	others := c.Listeners
	if len(others) > 0 && others[0].Name == MainListener {
		pair(&b, "address", addressTOML(others[0].Address))
		others[0].writeShared(&b)
		others = others[1:]
	} else {
		pair(&b, "address", "[]")
	}
	pair(&b, "drain_timeout", quoteTOML(formatDuration(c.DrainTimeout)))
	c.Record.write(&b)
	c.Log.write(&b)
	c.Limits.write(&b)
	for _, l := range others {
		l.write(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (l Listener) write(b *bytes.Buffer) {
	b.WriteString("\n[[listener]]\n")
	pair(b, "name", quoteTOML(l.Name))
	pair(b, "address", addressTOML(l.Address))
	l.writeShared(b)
}

func (l Listener) writeShared(b *bytes.Buffer) {
	pair(b, "backlog", l.Backlog)
	pair(b, "banner", quoteTOML(l.Banner))
	pair(b, "model", quoteTOML(l.Model))
	pair(b, "framing", quoteTOML(l.Framing))
	pair(b, "max_message", quoteTOML(formatSize(l.MaxMessage)))
	pair(b, "idle_timeout", quoteTOML(formatDuration(l.IdleTimeout)))
}

func (r Record) write(b *bytes.Buffer) {
	b.WriteString("\n[record]\n")
	pair(b, "file", quoteTOML(r.File))
	pair(b, "format", quoteTOML(r.Format))
	pair(b, "mode", quoteTOML(fmt.Sprintf("%04o", r.Mode)))
	pair(b, "max_size", quoteTOML(formatSize(r.MaxSize)))
	pair(b, "max_backups", r.MaxBackups)
	pair(b, "max_age", quoteTOML(formatDays(r.MaxAge)))
	pair(b, "compress", r.Compress)
	pair(b, "events", r.Events)
}

func (l Log) write(b *bytes.Buffer) {
	b.WriteString("\n[log]\n")
	pair(b, "file", quoteTOML(l.File))
	pair(b, "level", quoteTOML(l.Level))
}

func (l Limits) write(b *bytes.Buffer) {
	b.WriteString("\n[limits]\n")
	pair(b, "clients", l.Clients)
}

func pair(b *bytes.Buffer, key string, value any) { fmt.Fprintf(b, "%s = %v\n", key, value) }

func addressTOML(list []string) string {
	quoted := make([]string, len(list))
	for i, a := range list {
		quoted[i] = quoteTOML(a)
	}
	if len(quoted) == 1 {
		return quoted[0]
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
