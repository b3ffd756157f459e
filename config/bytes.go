package config

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bytes is what goes over the wire as it is in a file: text, or, for bytes of any kind, a table { hex = "78 78 0d 0a" }. It can be
// compared; the zero value is no bytes.
type Bytes struct {
	// Raw are the bytes.
	Raw string
	// Hex reports that a table gave them. They are sent as they are: nothing in them is a placeholder.
	Hex bool
}

// Text returns the bytes of a text, whose placeholders are filled in.
func Text(s string) Bytes { return Bytes{Raw: s} }

// Empty reports whether there are no bytes.
func (b Bytes) Empty() bool { return b.Raw == "" }

// String returns b as a file has it.
func (b Bytes) String() string {
	if b.Hex {
		return hexTable(fmt.Sprintf("% x", b.Raw))
	}
	return quoteTOML(b.Raw)
}

// shown is b in a message: cut when long.
func (b Bytes) shown() string {
	if b.Hex {
		return fmt.Sprintf("{ hex = %s }", quote(fmt.Sprintf("% x", b.Raw)))
	}
	return quote(b.Raw)
}

func hexTable(digits string) string { return fmt.Sprintf("{ hex = %q }", digits) }

// bytesValue takes at most so many bytes. In text the words, in braces, are filled in.
func bytesValue(dst *Bytes, most int, words []string) setter {
	return func(v any, at place) {
		if values, ok := v.(map[string]any); ok {
			t := table{doc: at.doc, path: at.path, name: at.name + ".", home: "bytes", values: values}
			t.need("hex", wantHex)
			t.take([]key{{"hex", hexDigits(dst, most)}})
			return
		}
		s, ok := v.(string)
		if !ok || len(s) > most {
			at.want(v, fmt.Sprintf("text in quotes, or bytes as %s, of %s at most", hexTable("0d 0a"), formatSize(int64(most))))
			return
		}
		*dst = Text(s)
		at.warnOfLatin(s)
		for _, found := range placeholderForm().FindAllString(s, -1) {
			warnOfPlaceholder(found, words, at)
		}
	}
}

const wantHex = `two hexadecimal digits for each byte, such as "78 78 0d 0a"`

// hexDigits takes the digits of at most so many bytes, with blanks between bytes where somebody likes.
func hexDigits(dst *Bytes, most int) setter {
	return func(v any, at place) {
		s, ok := v.(string)
		fields := strings.Fields(s)
		raw, err := hex.DecodeString(strings.Join(fields, ""))
		odd := slices.ContainsFunc(fields, func(f string) bool { return len(f)%2 != 0 })
		switch {
		case !ok || err != nil || odd:
			at.want(v, wantHex)
		case len(raw) > most:
			at.fault("is %d bytes long, want %s at most", len(raw), formatSize(int64(most)))
		default:
			*dst = Bytes{Raw: string(raw), Hex: len(raw) > 0}
		}
	}
}

// latinEscape returns the first escape in a basic string of TOML that stands for a character from U+0080 to U+00FF, as it is
// written there: "\xd9", "\u00d9" or "\U000000d9". It returns "" when there is none.
func latinEscape(token string) string {
	for i := 0; i < len(token); i++ {
		if token[i] != '\\' {
			continue
		}
		i++ // what is escaped may be a backslash
		digits := 0
		switch {
		case i == len(token):
		case token[i] == 'x':
			digits = 2
		case token[i] == 'u':
			digits = 4
		case token[i] == 'U':
			digits = 8
		}
		end := i + 1 + digits
		if digits == 0 || end > len(token) {
			continue
		}
		if r, err := strconv.ParseUint(token[i+1:end], 16, 32); err == nil && 0x80 <= r && r <= 0xff {
			return token[i-1 : end]
		}
	}
	return ""
}

// maxProposed is how many bytes are written out for who may have meant them.
const maxProposed = 16

// warnOfLatin warns of text with a character that was written as if it were a byte: TOML knows characters only, and from U+0080 on
// these are several bytes.
func (p place) warnOfLatin(s string) {
	escape := p.doc.latin[p.path]
	if escape == "" {
		return
	}
	r, _ := strconv.ParseUint(escape[2:], 16, 32) // latinEscape has read it
	meant := []byte{byte(r)}
	if all, ok := latin(s); ok && len(all) <= maxProposed {
		meant = all
	}
	p.warn("has %s, a character that is sent as the two bytes % x: bytes are written %s", escape, string(rune(r)), hexTable(fmt.Sprintf("% x", meant)))
}

// latin returns a byte for each character of s; ok is false when that cannot be.
func latin(s string) (bytes []byte, ok bool) {
	for _, r := range s {
		if r > 0xff {
			return nil, false
		}
		bytes = append(bytes, byte(r))
	}
	return bytes, true
}
