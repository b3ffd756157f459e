package document

import (
	"fmt"
	"strings"
	"unicode"
)

var escapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// QuoteTOML returns s as a basic string of TOML. strconv.Quote does not: TOML has no \a and \v, and
// its \x80 is a character.
func QuoteTOML(s string) string {
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

// ArrayTOML returns the list as an array of strings of TOML.
func ArrayTOML(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = QuoteTOML(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
