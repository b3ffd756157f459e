package stream

import (
	"strings"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// Subject returns the subject of a record of the given kind. Each value is one token of it,
// whatever it contains, and different values make different subjects.
func Subject(f config.Forward, host, listener, kind string) string {
	return fill(f.Subject, token(host), token(listener), token(kind))
}

// Filter returns the subject, with wildcards, that has all records of a host and no others.
func Filter(f config.Forward, host string) string { return fill(f.Subject, token(host), "*", "*") }

// everybody returns the subject, with wildcards, that has the records of all hosts.
func everybody(f config.Forward) string { return fill(f.Subject, "*", "*", "*") }

func fill(template, host, listener, kind string) string {
	return strings.NewReplacer("{host}", host, "{listener}", listener, "{kind}", kind).Replace(template)
}

// token returns s as one token of a subject. It escapes with %XX what could end the token, or be a
// wildcard, or be escaped. An empty s becomes "%", which nothing else does.
func token(s string) string {
	if s == "" {
		return "%"
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// wordOf returns the word for a kind in subjects, as in records.
func wordOf(k record.Kind) string {
	switch k {
	case record.KindOpen:
		return "open"
	case record.KindClose:
		return "close"
	default:
		return "message"
	}
}
