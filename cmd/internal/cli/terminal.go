package cli

import (
	"os"

	"golang.org/x/term"
)

// Columns returns a function that reports the current width of the terminal w. It returns false
// when w is no terminal, or one that cannot move its cursor (TERM=dumb).
func Columns(w *os.File) (columns func() int, ok bool) {
	fd := int(w.Fd())
	if !term.IsTerminal(fd) || os.Getenv("TERM") == "dumb" {
		return nil, false
	}
	return func() int {
		if width, _, err := term.GetSize(fd); err == nil && width > 0 {
			return width
		}
		return 80
	}, true
}

// Colour reports whether output at a terminal may be coloured (no-color.org).
func Colour() bool { return os.Getenv("NO_COLOR") == "" }
