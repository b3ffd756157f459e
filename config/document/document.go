// Package document reads files of TOML, and knows where each value stands: a message about a value
// names its file and line, also where a table inherits the value, perhaps from another file. The
// package knows no key. What a key means, and which values it may have, is for the caller to say.
package document

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"tcpmux/config/fault"
)

// Document is one file of a Set while its values are read. It is for one goroutine.
type Document struct {
	set    *Set
	file   string
	values map[string]any
	lines  map[string]int    // by path, see keyPath
	bare   map[string]string // numbers as they are written, by path
	latin  map[string]string // see Place.LatinEscape, by path
	failed map[string]bool   // paths with an error: what depends on them is not checked
}

// decode sets the values and the line of each. It returns an error where the text is not TOML.
func (d *Document) decode(text []byte) *fault.Fault {
	if f := d.encoding(text); f != nil {
		return f
	}
	scan := scanText(string(text))
	if scan.deep > 0 {
		return d.fault(scan.deep, fmt.Sprintf("nested more than %d deep, want tables and arrays as the manual shows them", maxDepth))
	}
	d.lines, d.bare, d.latin = scan.lines, scan.bares, scan.latin
	values, err := decodeTOML(string(text))
	if err != nil {
		return d.syntax(err, scan)
	}
	if line := lostLine(scan.lines, values); line > 0 {
		return d.fault(line, "not TOML: a key has a value and also keys below it")
	}
	d.values = values
	return nil
}

func (d *Document) fault(line int, text string) *fault.Fault {
	return &fault.Fault{File: d.file, Line: line, Text: text}
}

// encoding rejects what an editor may save without showing it.
func (d *Document) encoding(text []byte) *fault.Fault {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return d.fault(1, "the file is UTF-16, want plain UTF-8")
	}
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return d.fault(1, "the file begins with a byte order mark, want plain UTF-8 without one")
	}
	for i, line := 0, 1; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == 0:
			return d.fault(line, "a NUL byte, want plain UTF-8")
		case r == utf8.RuneError && n == 1:
			return d.fault(line, fmt.Sprintf("byte 0x%02x is not UTF-8, want plain UTF-8", text[i]))
		case r == '\n':
			line++
		}
		i += n
	}
	return nil
}

// decodeTOML decodes into a map, not into a struct: the library would match keys without regard to
// case, take a bare number for a duration, and stop at the first value of a wrong type. It panics
// at suspected bugs of its own, which becomes an error here: no file may end the process.
func decodeTOML(text string) (values map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the TOML library gave up: %v", r)
		}
	}()
	_, err = toml.Decode(text, &values)
	return values, err
}

// Top returns the table of the keys before the first header of a table.
func (d *Document) Top() Table { return Table{doc: d, Values: d.values} }

// At returns the place of a key of the top table or, with several keys, of one in a table below it.
func (d *Document) At(keys ...string) Place {
	path := ""
	for _, k := range keys {
		path = keyPath(path, k)
	}
	return Place{doc: d, path: path, name: strings.Join(keys, ".")}
}
