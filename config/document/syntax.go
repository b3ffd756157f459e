package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"

	"tcpmux/config/fault"
)

// hints explain the messages of the TOML library, by a part of each.
var hints = []struct{ part, plain string }{
	{"end table name", "a table begins with [NAME] on a line of its own"},
	{"table names cannot be empty", "a table begins with [NAME] on a line of its own"},
	{"end of table array name", "an array of tables begins with [[NAME]] on a line of its own"},
	{"expected '.' or '='", "want KEY = VALUE, [TABLE] or a # comment"},
	{"expected key separator '='", "want KEY = VALUE, [TABLE] or a # comment"},
	{"key name appears blank", "want KEY = VALUE"},
	{"unexpected EOF; expected value", "a value is missing"},
	{"expected value but found '\\n'", "a value is missing"},
	{"expected value but found", `text must be in quotes, such as "info"`},
	{"cannot have leading zeroes", `a mode must be in quotes, such as "0640"`},
	{"strings cannot contain newlines", "a string has no closing quote"},
	{"unexpected EOF; expected '", "a string has no closing quote"},
	{`unexpected EOF; expected "`, "a string has no closing quote"},
	{"array terminator", "an array lacks a comma or its closing ]"},
	{"inline table terminator '}'", "an inline table lacks a comma or its closing }"},
	{"to end with a newline", `want one KEY = VALUE or [TABLE] per line, and text in quotes, such as "info"`},
	{"already", "it is defined twice"},
}

// syntax turns an error of the TOML library into a Fault, at the place that the scan found.
func (d *Document) syntax(err error, scan *scanner) *fault.Fault {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return d.fault(0, "not TOML: "+oneLine(err.Error()))
	}
	// At the end of a file without a final newline the library can name line 0.
	line := max(pe.Position.Line, 1)
	where := ""
	switch first := scan.first[line]; {
	case strings.Contains(pe.Message, "table") && strings.Contains(pe.Message, "name") && scan.open > 0:
		line = scan.open
	case strings.Contains(pe.Message, "already") && first > 0 && first < line:
		where = fmt.Sprintf(", first on line %d", first)
	case scan.open > 0 && scan.open < line:
		where = fmt.Sprintf(", which begins on line %d", scan.open)
	}
	return d.fault(line, "not TOML: "+plain(pe.Message, where))
}

// plain puts the explanation of a message, and the place, before the message.
func plain(message, where string) string {
	for _, h := range hints {
		if strings.Contains(message, h.part) {
			return h.plain + where + " (" + oneLine(message) + ")"
		}
	}
	return oneLine(message)
}

// oneLine returns a message of the library in the style of this package, and safe to print.
func oneLine(s string) string {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		s = strings.ToLower(s[:1]) + s[1:]
	}
	if len(s) > 4*fault.MaxShown {
		s = strings.ToValidUTF8(s[:4*fault.MaxShown], "") + "…"
	}
	return fault.Printable(s)
}
