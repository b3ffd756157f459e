package client

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// appendEscaped appends what p says to dst so that a terminal shows it and does nothing else:
// letters, marks, digits, punctuation, symbols, spaces, newline and tab stand as they are, and the
// carriage return of a CRLF is left out. Backslash becomes `\\`; a byte below 0x80 or one that is
// not UTF-8 `\xNN`; any other character (C1 and bidirectional controls, separators, what Unicode
// has not assigned) `\uNNNN` or `\UNNNNNNNN`. Except for CRLF it is reversible.
func appendEscaped(dst, p []byte) []byte {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		switch {
		case r == '\r' && len(p) > 1 && p[1] == '\n':
		case r == '\\':
			dst = append(dst, `\\`...)
		case r == '\n', r == '\t', r == ' ':
			dst = append(dst, byte(r))
		case r == utf8.RuneError && n == 1, r < 0x80 && !unicode.IsGraphic(r):
			dst = fmt.Appendf(dst, `\x%02x`, p[0])
		case unicode.IsGraphic(r):
			dst = append(dst, p[:n]...)
		case r <= 0xffff:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = fmt.Appendf(dst, `\U%08x`, r)
		}
		p = p[n:]
	}
	return dst
}

// escaper escapes a stream that comes in pieces. The zero value is ready; it is not safe for
// concurrent use.
type escaper struct {
	held []byte // what the next piece may complete: a rune or a CRLF
}

// next returns what can be shown once p has arrived. The result does not depend on how the stream
// is cut into pieces.
func (e *escaper) next(p []byte) []byte {
	e.held = append(e.held, p...)
	whole := len(e.held) - incomplete(e.held)
	shown := appendEscaped(nil, e.held[:whole])
	e.held = append(e.held[:0], e.held[whole:]...)
	return shown
}

// flush returns what was held back, at the end of the stream.
func (e *escaper) flush() []byte {
	shown := appendEscaped(nil, e.held)
	e.held = nil
	return shown
}

// incomplete returns how many bytes at the end of p depend on the next byte.
func incomplete(p []byte) int {
	if len(p) > 0 && p[len(p)-1] == '\r' {
		return 1
	}
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
