// Package text writes what programs tell as lines for people: tables, units and colours. It
// promises that no string of a client, or of anybody else, begins a line or drives a terminal, and
// that colours only repeat what the text says.
package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ASCII returns s in printable ASCII, so that each byte takes one column: any other byte or
// character is written \xNN, \uNNNN or \UNNNNNNNN.
func ASCII(s string) string { return escaped(s, func(rune) bool { return false }) }

// Prose returns s so that a terminal shows it on one line and does nothing else. Letters of all
// scripts stand as they are; control characters, bidirectional controls, line separators and what
// is not UTF-8 are written as ASCII writes them.
func Prose(s string) string { return escaped(s, unicode.IsGraphic) }

// escaped keeps printable ASCII, and the other characters that keep selects.
func escaped(s string, keep func(rune) bool) string {
	plain := func(r rune) bool { return r >= 0x20 && r < 0x7f }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b []byte
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case plain(r):
			b = append(b, byte(r))
		case r == utf8.RuneError && n == 1, r < utf8.RuneSelf:
			b = fmt.Appendf(b, `\x%02x`, s[0])
		case keep(r):
			b = append(b, s[:n]...)
		case r <= 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return string(b)
}

// JSON returns v as JSON in printable ASCII, with a newline at its end: on several indented lines,
// or on one. It means the same as what encoding/json writes.
func JSON(v any, indented bool) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if indented {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	out := make([]byte, 0, b.Len())
	for _, r := range b.String() { // encoding/json writes valid UTF-8
		switch {
		case r < 0x7f:
			out = append(out, byte(r))
		case r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		default: // a surrogate pair
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out, nil
}
