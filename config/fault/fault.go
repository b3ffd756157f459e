// Package fault has the errors in a file that people write: each names a line, and shows what
// stands there without control characters and cut when it is long.
package fault

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrInvalid is every List, in the sense of errors.Is.
var ErrInvalid = errors.New("invalid configuration")

// Fault is one error or warning about a file.
type Fault struct {
	// File is the path of the file.
	File string
	// Line counts from 1; 0 is for the file as a whole.
	Line int
	// Text names the key, its value and what is allowed. It is one line without control
	// characters.
	Text string
}

// String returns one line: FILE:LINE: TEXT.
func (f Fault) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", Printable(f.File), f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", Printable(f.File), f.Line, f.Text)
}

// List is the error of files that could be read: all their errors, file by file and in the order of
// lines.
type List []Fault

// Error returns one line for each error, without a newline at the end.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i := range l {
		lines[i] = l[i].String()
	}
	return strings.Join(lines, "\n")
}

// Is reports whether target is ErrInvalid.
func (l List) Is(target error) bool { return target == ErrInvalid }

// Most is how many errors of a file are shown: more are one mistake, or a file of another kind.
const Most = 100

// Shown returns the first errors, and in place of the others their number. what names them, in the
// plural.
func (l List) Shown(what string) List {
	if len(l) <= Most {
		return l
	}
	first := l[Most]
	return append(l[:Most:Most], Further(first.File, first.Line, len(l)-Most, what))
}

// Further stands for n errors that are not shown. line is that of the first, and what names them,
// in the plural.
func Further(file string, line, n int, what string) Fault {
	if n == 1 {
		what = strings.TrimSuffix(what, "s")
	}
	return Fault{file, line, fmt.Sprintf("and %d further %s", n, what)}
}

// MaxShown is the number of bytes of a value or key that messages show.
const MaxShown = 60

// Quote returns s as by %q, cut when it is longer than MaxShown.
func Quote(s string) string {
	if len(s) <= MaxShown {
		return strconv.Quote(s)
	}
	return strconv.Quote(cut(s)) + "…"
}

// cut returns at most MaxShown bytes of s and no part of a character.
func cut(s string) string {
	n := MaxShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Printable returns s itself when all of it is printable, and s in quotes otherwise.
func Printable(s string) string {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
