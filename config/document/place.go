package document

import (
	"cmp"
	"fmt"
	"time"

	"tcpmux/config/fault"
)

// Place is where a value stands, and how messages name it.
type Place struct {
	doc  *Document
	path string
	name string // as in a message: `listener "telnet": backlog`
	// For messages if nothing stands at path: that of the table that inherits the value.
	line int
}

// Item returns the place of an element of an array. It has a line of its own, and the array's name.
func (p Place) Item(i int) Place {
	p.path = itemPath(p.path, i)
	return p
}

// Table returns the table that stands at p. Messages put the prefix before its keys.
func (p Place) Table(prefix string, values map[string]any) Table {
	return Table{p.doc, p.path, prefix, values}
}

// Name returns the key as messages name it.
func (p Place) Name() string { return p.name }

// Line returns the line of the value. For a value that a table inherits that is the table's line;
// for one that stands nowhere it is 0.
func (p Place) Line() int { return cmp.Or(p.doc.lines[p.path], p.line) }

// Seen returns where p stands for a message about another place: its line, and its file too if that
// is another file.
func (p Place) Seen(from Place) string {
	if p.doc == from.doc {
		return fmt.Sprintf("line %d", p.Line())
	}
	return fmt.Sprintf("%s:%d", fault.Printable(p.doc.file), p.Line())
}

// File returns the file in which p stands, or would stand.
func (p Place) File() string { return p.doc.file }

// LatinEscape returns the first escape in the string at p that stands for a character from U+0080
// to U+00FF, as it is written there, such as "\xd9" or "\u00d9". It returns "" when there is none.
func (p Place) LatinEscape() string { return p.doc.latin[p.path] }

// Written returns the value at p as its author wrote it: 0o640, not 416.
func (p Place) Written(v any) string {
	switch v.(type) {
	case int64, float64:
		if text := p.doc.bare[p.path]; text != "" && len(text) <= fault.MaxShown {
			return text
		}
	}
	return Show(v)
}

// Show returns a decoded value for a message: one line that its author recognises, cut when it is
// long.
func Show(v any) string {
	switch v := v.(type) {
	case string:
		return fault.Quote(v)
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "an array"
	}
	return fmt.Sprint(v)
}

// Want reports that the value is not what is allowed. It returns false, so that a reader can return
// the result.
func (p Place) Want(got any, want string) bool {
	return p.Fault("is %s, want %s", p.Written(got), want)
}

// Fault reports an error, and returns false. The message is the name of p and then the format.
func (p Place) Fault(format string, args ...any) bool {
	p.doc.set.faults = append(p.doc.set.faults, p.message(format, args...))
	return p.Fail()
}

// Fail notes that the value has an error, which is reported at another place, and returns false.
func (p Place) Fail() bool {
	p.doc.failed[p.path] = true
	return false
}

// Failed reports whether the value has an error: what depends on it cannot be checked.
func (p Place) Failed() bool { return p.doc.failed[p.path] }

// Include reports the errors of a file that the value names, and returns false.
func (p Place) Include(faults fault.List) bool {
	p.doc.set.faults = append(p.doc.set.faults, faults...)
	return p.Fail()
}

// Warn reports what is allowed but most likely a mistake.
func (p Place) Warn(format string, args ...any) {
	p.doc.set.warnings = append(p.doc.set.warnings, p.message(format, args...))
}

func (p Place) message(format string, args ...any) fault.Fault {
	return fault.Fault{File: p.doc.file, Line: p.Line(), Text: p.name + " " + fmt.Sprintf(format, args...)}
}
