package config

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// Bytes is what is sent to a client, or what a client sends: text, or any bytes from a table { hex
// = "78 78 0d 0a" }. It is comparable. The zero value is no bytes.
type Bytes struct {
	// Raw are the bytes.
	Raw string
	// Hex reports whether they came from a table. Then nothing in them is a placeholder.
	Hex bool
}

// Text returns the bytes of a text, which may hold placeholders.
func Text(s string) Bytes { return Bytes{Raw: s} }

// Empty reports whether there are no bytes.
func (b Bytes) Empty() bool { return b.Raw == "" }

// String returns b as it is written in a file.
func (b Bytes) String() string {
	if b.Hex {
		return hexTable(fmt.Sprintf("% x", b.Raw))
	}
	return document.QuoteTOML(b.Raw)
}

// shown returns b for a message, cut when it is long.
func (b Bytes) shown() string {
	if b.Hex {
		return fmt.Sprintf("{ hex = %s }", fault.Quote(fmt.Sprintf("% x", b.Raw)))
	}
	return fault.Quote(b.Raw)
}

func hexTable(digits string) string { return fmt.Sprintf("{ hex = %q }", digits) }

// bytesOf takes at most so many bytes to send. In text, the given words in braces are placeholders.
func bytesOf(most int, words ...string) kind[Bytes] {
	k := anyBytes(most)
	read := k.read
	k.read = func(v any, at place) (Bytes, bool) {
		b, ok := read(v, at)
		if s, isText := v.(string); isText && ok {
			warnOfPlaceholders(s, words, at.Place)
		}
		return b, ok
	}
	return k
}

// anyBytes takes at most so many bytes.
func anyBytes(most int) kind[Bytes] {
	allowed := "text or bytes, at most " + notation.FormatSize(int64(most))
	form := ": a string in quotes, or " + hexTable("0d 0a")
	read := func(v any, at place) (Bytes, bool) {
		if values, ok := v.(map[string]any); ok {
			return readHex(values, most, at.Place)
		}
		s, ok := v.(string)
		if !ok || len(s) > most {
			return Bytes{}, at.Want(v, allowed+form)
		}
		warnOfLatin(s, at.Place)
		return Text(s), true
	}
	return kind[Bytes]{allowed, read, Bytes.String}
}

// readHex reads a table { hex = "…" }. Blanks may separate bytes.
func readHex(values map[string]any, most int, at document.Place) (Bytes, bool) {
	const want = `two hexadecimal digits for each byte, such as "78 78 0d 0a"`
	t := at.Table(at.Name()+".", values)
	rejectUnknown(t, section{table: "bytes"}, []string{"hex"})
	v, ok := values["hex"]
	if !ok {
		return Bytes{}, t.Missing("hex", want)
	}
	at = t.At("hex")
	s, ok := v.(string)
	fields := strings.Fields(s)
	raw, err := hex.DecodeString(strings.Join(fields, ""))
	odd := slices.ContainsFunc(fields, func(f string) bool { return len(f)%2 != 0 })
	switch {
	case !ok || err != nil || odd:
		return Bytes{}, at.Want(v, want)
	case len(raw) > most:
		return Bytes{}, at.Fault("is %d bytes long, want at most %s", len(raw), notation.FormatSize(int64(most)))
	}
	return Bytes{Raw: string(raw), Hex: len(raw) > 0}, true
}

// maxProposed is the number of bytes up to which a warning spells out the table for a whole text.
const maxProposed = 16

// warnOfLatin warns of text with a character that was most likely meant for a byte. Escapes of TOML
// are characters, and in UTF-8 those from U+0080 are several bytes.
func warnOfLatin(s string, at document.Place) {
	escape := at.LatinEscape()
	if escape == "" {
		return
	}
	r, _ := strconv.ParseUint(escape[2:], 16, 32) // Parse has found an escape of this form
	meant := []byte{byte(r)}
	if all, ok := latin(s); ok && len(all) <= maxProposed {
		meant = all
	}
	at.Warn("has %s, a character that is sent as the two bytes % x: bytes are written %s", escape, string(rune(r)), hexTable(fmt.Sprintf("% x", meant)))
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
