package record

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

const (
	maxName = 255 // the longest name or address in a record
	maxWord = 32  // the longest flag or reason
)

// cursor reads a line piece by piece. It stops at the first error.
type cursor struct {
	line []byte
	at   int
	err  error
}

// refuse sets an error at the current byte.
func (c *cursor) refuse(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("byte %d: %w", c.at+1, fmt.Errorf(format, args...))
	}
}

// fail sets the error that the line does not continue with want.
func (c *cursor) fail(want string) {
	c.refuse("got %s, want %s", excerpt(c.line[min(c.at, len(c.line)):]), want)
}

// excerpt returns the first bytes of b, quoted.
func excerpt(b []byte) string {
	const most = 16
	switch {
	case len(b) == 0:
		return "the end"
	case len(b) > most:
		return strconv.QuoteToASCII(string(b[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}

// has skips s if the line continues with s, and reports whether it does.
func (c *cursor) has(s string) bool {
	if !c.begins(s) {
		return false
	}
	c.at += len(s)
	return true
}

// begins reports whether the line continues with s.
func (c *cursor) begins(s string) bool {
	return c.err == nil && len(c.line)-c.at >= len(s) && string(c.line[c.at:c.at+len(s)]) == s
}

// want skips s. It is an error if the line does not continue with s.
func (c *cursor) want(s string) {
	if !c.has(s) {
		c.fail(s)
	}
}

// take returns the next n bytes.
func (c *cursor) take(n int) []byte {
	if c.err == nil && len(c.line)-c.at < n {
		c.fail(fmt.Sprintf("%d bytes more", n))
	}
	if c.err != nil {
		return nil
	}
	c.at += n
	return c.line[c.at-n : c.at]
}

// word reads a word of lower-case letters.
func (c *cursor) word() []byte {
	n := 0
	for rest := c.line[c.at:]; n < len(rest) && rest[n] >= 'a' && rest[n] <= 'z'; n++ {
	}
	if n == 0 || n > maxWord {
		c.fail("a word")
	}
	return c.take(n)
}

// reason reads why a session ended: a word, and for some a number after it.
func (c *cursor) reason() []byte {
	start := c.at
	c.word()
	if c.has(" ") {
		c.number()
	}
	return c.line[start:c.at]
}

// number reads a decimal number.
func (c *cursor) number() (n int64) {
	start := c.at
	for ; c.err == nil && c.at < len(c.line) && c.line[c.at] >= '0' && c.line[c.at] <= '9'; c.at++ {
		digit := int64(c.line[c.at] - '0')
		if n > (math.MaxInt64-digit)/10 {
			c.fail("a smaller number")
			return 0
		}
		n = 10*n + digit
	}
	if c.at == start {
		c.fail("a number")
	}
	return n
}

// printable reads a name: printable ASCII up to a quote, a backslash or end.
func (c *cursor) printable(end byte) []byte {
	rest := c.line[c.at:]
	rest = rest[:min(len(rest), maxName+1)]
	n := plain(rest, true)
	if i := bytes.IndexByte(rest[:n], end); i >= 0 {
		n = i
	}
	switch {
	case n > maxName:
		c.fail("a shorter name")
	case n == 0 && end == ' ':
		c.fail("an address")
	}
	return c.take(n)
}

// bytes appends the value of the JSON member with the given name, plain or in base64. It appends
// nothing if the line does not continue with this member.
func (c *cursor) bytes(dst []byte, name string) []byte {
	switch {
	case c.has(`,"` + name + `":"`):
		return c.quoted(dst)
	case c.has(`,"` + name + `_base64":"`):
		n := max(0, bytes.IndexByte(c.line[c.at:], '"'))
		dst, err := base64.StdEncoding.Strict().AppendDecode(dst, c.line[c.at:c.at+n])
		if err != nil {
			c.refuse("%s_base64: %w", name, errors.New("this is no base64"))
		}
		c.at += n
		c.want(`"`)
		return dst
	}
	return dst
}

// quoted appends the value of a JSON string whose opening quote was read.
func (c *cursor) quoted(dst []byte) []byte {
	for c.err == nil {
		rest := c.line[c.at:]
		n := bytes.IndexAny(rest, `"\`)
		if n < 0 {
			c.at = len(c.line)
			c.fail("a closing quote")
			return dst
		}
		dst = append(dst, rest[:n]...)
		c.at += n
		switch {
		case c.has(`"`):
			return dst
		case c.has(`\\`):
			dst = append(dst, '\\')
		case c.has(`\"`):
			dst = append(dst, '"')
		default:
			dst = c.appendU(dst)
		}
	}
	return dst
}

// escaped appends the unescaped rest of a text record.
func (c *cursor) escaped(dst []byte) []byte {
	for c.err == nil {
		rest := c.line[c.at:]
		n := bytes.IndexByte(rest, '\\')
		if n < 0 {
			c.at = len(c.line)
			return append(dst, rest...)
		}
		dst = append(dst, rest[:n]...)
		c.at += n
		dst = c.appendEscape(dst)
	}
	return dst
}

// quotedText appends an unescaped name of a text record, whose opening quote was read.
func (c *cursor) quotedText(dst []byte) []byte {
	for c.err == nil {
		rest := c.line[c.at:]
		n := bytes.IndexAny(rest, `"\`)
		if n < 0 {
			c.at = len(c.line)
			c.fail("a closing quote")
			return dst
		}
		dst = append(dst, rest[:n]...)
		c.at += n
		switch {
		case c.has(`"`):
			return dst
		case c.has(`\"`):
			dst = append(dst, '"')
		default:
			dst = c.appendEscape(dst)
		}
	}
	return dst
}

// appendEscape appends what an escape of text records stands for.
func (c *cursor) appendEscape(dst []byte) []byte {
	switch {
	case c.has(`\\`):
		return append(dst, '\\')
	case c.has(`\x`):
		return append(dst, byte(c.hex(2)))
	}
	return c.appendU(dst)
}

// appendU appends the character of an escape `\uNNNN`.
func (c *cursor) appendU(dst []byte) []byte {
	if !c.has(`\u`) {
		c.fail("an escape that records have")
		return dst
	}
	return utf8.AppendRune(dst, rune(c.hex(4)))
}

// hex reads a number with n hexadecimal digits.
func (c *cursor) hex(n int) uint64 {
	digits := c.take(n)
	v, err := strconv.ParseUint(string(digits), 16, 32)
	if c.err == nil && err != nil {
		c.at -= n
		c.fail("hexadecimal digits")
	}
	return v
}
