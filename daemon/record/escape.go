package record

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// appendEscaped appends data in a form that stays on one line and cannot control a terminal. A
// backslash becomes `\\`, control characters below 0x80 and bytes that are not UTF-8 become `\xNN`,
// and the other unsafe characters become `\uNNNN`. The form is reversible.
func appendEscaped(dst, data []byte) []byte {
	for {
		n := printable(data)
		dst = appendDoubled(dst, data[:n])
		if data = data[n:]; len(data) == 0 {
			return dst
		}
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1, r < utf8.RuneSelf:
			dst = append(dst, '\\', 'x', hex[data[0]>>4], hex[data[0]&15])
		case unsafeRune(r):
			dst = appendU(dst, r)
		default:
			dst = append(dst, data[:size]...)
		}
		data = data[size:]
	}
}

// appendBytes appends the member for data, which is called name if data is UTF-8, and otherwise
// name_base64. It also escapes characters that JSON allows but that could control a terminal.
func appendBytes(dst []byte, name string, data []byte) []byte {
	n := printable(data)
	dst = append(append(dst, `,"`...), name...)
	if n < len(data) && !utf8.Valid(data[n:]) {
		dst = append(dst, `_base64":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, data), '"')
	}
	dst = append(dst, `":"`...)
	for {
		dst = appendQuoted(dst, data[:n])
		if data = data[n:]; len(data) == 0 {
			return append(dst, '"')
		}
		r, size := utf8.DecodeRune(data)
		if unsafeRune(r) {
			dst = appendU(dst, r)
		} else {
			dst = append(dst, data[:size]...)
		}
		data = data[size:]
		n = printable(data)
	}
}

// appendDoubled appends printable ASCII and doubles its backslashes.
func appendDoubled(dst, data []byte) []byte {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 {
			return append(dst, data...)
		}
		dst = append(append(dst, data[:i]...), `\\`...)
		data = data[i+1:]
	}
}

// appendQuoted is appendDoubled that also puts a backslash before quotes.
func appendQuoted(dst, data []byte) []byte {
	for {
		i := bytes.IndexByte(data, '"')
		if i < 0 {
			return appendDoubled(dst, data)
		}
		dst = append(appendDoubled(dst, data[:i]), `\"`...)
		data = data[i+1:]
	}
}

// appendU appends r, which is in the basic plane, as `\uNNNN`.
func appendU(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// unsafeRune reports whether r could end a line, control a terminal, or change the order in which
// text is displayed: C0, DEL, C1, the line and paragraph separators, and the bidirectional controls
// (Unicode Standard Annex 9, table of section 2).
func unsafeRune(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r < 0x61c:
		return false
	}
	return r == 0x61c || r == 0x200e || r == 0x200f ||
		r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// printable returns how many bytes at the head of data are printable ASCII. It checks many bytes at
// a time, because most data is printable.
func printable(data []byte) int {
	left := data
	for ; len(left) >= 32; left = left[32:] {
		w := (*[32]byte)(left)
		if unprintable(w[0:8])|unprintable(w[8:16])|unprintable(w[16:24])|unprintable(w[24:32]) != 0 {
			break
		}
	}
	for ; len(left) >= 8; left = left[8:] {
		if unprintable(left) != 0 {
			break
		}
	}
	n := len(data) - len(left)
	for n < len(data) && data[n] >= 0x20 && data[n] < 0x7f {
		n++
	}
	return n
}

// unprintable is not 0 if one of the first eight bytes of b is not printable ASCII. The high bit of
// a byte is set if the byte is 0x80 or more, below 0x20, or 0x7f. Carries and borrows may set the
// bit of the bytes above such a byte, but never in a word without one.
func unprintable(b []byte) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	w := binary.LittleEndian.Uint64(b)
	return (w | (w - ones*0x20) | (w + ones)) & high
}
