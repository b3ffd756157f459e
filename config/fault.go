package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrInvalid is what every error of Load is, in the sense of errors.Is: the file cannot be read, is not TOML, or asks for
// what cannot be served. An error that came from the file system is also that error, such as fs.ErrNotExist.
var ErrInvalid = errors.New("invalid configuration")

// Fault is one thing wrong with a file.
type Fault struct {
	// File is the path that Load was given.
	File string
	// Line counts from 1; 0 where no line is to blame.
	Line int
	// Text says which key has which value and what is allowed. It is one line and holds no control character.
	Text string
}

// String is the fault as one line: FILE:LINE: TEXT.
func (f Fault) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", printable(f.File), f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", printable(f.File), f.Line, f.Text)
}

// Faults is the error of Load for a file that was read: all that is wrong with it, in the order of its lines.
type Faults []Fault

// Error is one line a fault, without a newline at the end.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// Is makes Faults an ErrInvalid.
func (f Faults) Is(target error) bool { return target == ErrInvalid }

// unreadable is the error of Load for a file that could not be read at all.
type unreadable struct {
	what  string // that it is
	path  string
	cause error
}

// Error names the file and why it cannot be read.
func (u *unreadable) Error() string {
	return fmt.Sprintf("read %s %q: %v", u.what, u.path, u.cause)
}

// Unwrap makes it an ErrInvalid and the error of the file system, as ErrInvalid promises.
func (u *unreadable) Unwrap() []error { return []error{ErrInvalid, u.cause} }

// maxShown is how many bytes of a value or key are shown before they are cut.
const maxShown = 60

// show writes a decoded TOML value as its author would recognise it, on one line, cut when long.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
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

// quote is %q, cut when long.
func quote(s string) string {
	if len(s) <= maxShown {
		return strconv.Quote(s)
	}
	return strconv.Quote(cut(s)) + "…"
}

// cut returns at most maxShown bytes of s, ending between two runes.
func cut(s string) string {
	n := maxShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// printable returns s as it is when a terminal shows it as it is, else quoted.
func printable(s string) string {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
