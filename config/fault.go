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

// ErrInvalid is every error of Load, in the sense of errors.Is: the file cannot be read, is not
// TOML, or asks for what cannot be served. An error of the file system is also that error, such as
// fs.ErrNotExist.
var ErrInvalid = errors.New("invalid configuration")

// Fault is one error or warning about a file.
type Fault struct {
	// File is the path that Load was given.
	File string
	// Line counts from 1; 0 is for the file as a whole.
	Line int
	// Text names the key, its value and what is allowed. It is one line without control characters.
	Text string
}

// String returns one line: FILE:LINE: TEXT.
func (f Fault) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", printable(f.File), f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", printable(f.File), f.Line, f.Text)
}

// Faults is the error of Load for a file that could be read: all its errors, in the order of lines.
type Faults []Fault

// Error returns one line for each error, without a newline at the end.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// Is reports whether target is ErrInvalid.
func (f Faults) Is(target error) bool { return target == ErrInvalid }

// maxFaults is how many errors of a file are shown: more are one mistake, or a file of another
// kind.
const maxFaults = 100

// shown returns the first errors, and in place of the others their number. what names them, in the
// plural.
func (f Faults) shown(what string) Faults {
	if len(f) <= maxFaults {
		return f
	}
	first := f[maxFaults]
	return append(f[:maxFaults:maxFaults], further(first.File, first.Line, len(f)-maxFaults, what))
}

// further stands for n errors that are not shown. line is that of the first.
func further(file string, line, n int, what string) Fault {
	if n == 1 {
		what = strings.TrimSuffix(what, "s")
	}
	return Fault{file, line, fmt.Sprintf("and %d further %s", n, what)}
}

// unreadable is the error of Load for a file that could not be read.
type unreadable struct {
	what  string // "configuration" or "rules"
	path  string
	cause error
}

// Error returns one line with the file and the cause.
func (u *unreadable) Error() string {
	return fmt.Sprintf("read %s %q: %v", u.what, u.path, u.cause)
}

// Unwrap returns ErrInvalid and the cause.
func (u *unreadable) Unwrap() []error { return []error{ErrInvalid, u.cause} }

// maxShown is the number of bytes of a value or key that messages show.
const maxShown = 60

// show returns a decoded TOML value for a message: one line that its author recognises, cut when
// long.
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

// quote returns s as by %q, cut when long.
func quote(s string) string {
	if len(s) <= maxShown {
		return strconv.Quote(s)
	}
	return strconv.Quote(cut(s)) + "…"
}

// cut returns at most maxShown bytes of s and no part of a character.
func cut(s string) string {
	n := maxShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// printable returns s itself when all of it is printable, and s in quotes otherwise.
func printable(s string) string {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
