package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// hints say in plain words what the TOML library means, by a part of its message.
var hints = []struct{ part, plain string }{
	{"end table name", "a table begins with [NAME] on a line of its own"},
	{"table names cannot be empty", "a table begins with [NAME] on a line of its own"},
	{"end of table array name", "a table of several begins with [[NAME]] on a line of its own"},
	{"expected '.' or '='", "want KEY = VALUE, [TABLE] or a # comment"},
	{"expected key separator '='", "want KEY = VALUE, [TABLE] or a # comment"},
	{"key name appears blank", "want KEY = VALUE"},
	{"unexpected EOF; expected value", "a value is missing"},
	{"expected value but found '\\n'", "a value is missing"},
	{"expected value but found", `text stands in quotes, such as "info"`},
	{"cannot have leading zeroes", `a mode stands in quotes, such as "0640"`},
	{"strings cannot contain newlines", "a text has no quote at its end"},
	{"unexpected EOF; expected '", "a text has no quote at its end"},
	{`unexpected EOF; expected "`, "a text has no quote at its end"},
	{"array terminator", "an array lacks its ] or a comma"},
	{"inline table terminator '}'", "a table in braces lacks its } or a comma"},
	{"to end with a newline", `a line is one KEY = VALUE or [TABLE], and text stands in quotes, such as "info"`},
	{"already", "it is there twice"},
}

// syntax puts an error of the TOML library into our form, with what the scan knows of the place.
func (d *document) syntax(err error, scan *scanner) *Fault {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &Fault{d.file, 0, "not TOML: " + oneLine(err.Error())}
	}
	line := max(pe.Position.Line, 1) // at the end of a file without a final newline the library can name line 0
	where := ""
	switch first := scan.first[line]; {
	case strings.Contains(pe.Message, "table") && strings.Contains(pe.Message, "name") && scan.open > 0:
		line = scan.open
	case strings.Contains(pe.Message, "already") && first > 0 && first < line:
		where = fmt.Sprintf(", first on line %d", first)
	case scan.open > 0 && scan.open < line:
		where = fmt.Sprintf(", begun on line %d", scan.open)
	}
	return &Fault{d.file, line, "not TOML: " + plain(pe.Message, where)}
}

// plain puts our words and the place they are about before those of the library.
func plain(message, where string) string {
	for _, h := range hints {
		if strings.Contains(message, h.part) {
			return h.plain + where + " (" + oneLine(message) + ")"
		}
	}
	return oneLine(message)
}

// oneLine makes a message of the library end and begin as ours do, and safe to print.
func oneLine(s string) string {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		s = strings.ToLower(s[:1]) + s[1:]
	}
	if len(s) > 4*maxShown {
		s = strings.ToValidUTF8(s[:4*maxShown], "") + "…"
	}
	return printable(s)
}
