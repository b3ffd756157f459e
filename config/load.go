package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"unicode/utf8"

	"tcpmux/config/notation"

	"github.com/BurntSushi/toml"
)

// maxFile is the size of the largest file in bytes.
const maxFile = 1 << 20

// Load reads the file at path; keys that it does not set have their default. An error is ErrInvalid
// in the sense of errors.Is, and one of two kinds: the file could not be read (then it is also the
// cause, such as fs.ErrNotExist), or Faults, which holds all errors of the file. With an error,
// only Warnings of the Config are set. Load blocks on nothing but the disk: it opens regular files
// only.
func Load(path string) (Config, error) { return loadFile(path, false) }

// LoadEarly is Load for a caller that runs before file systems are mounted (systemd.generator(7)),
// or that checks each listener itself. It does not look up programs and users, and reads no rules.
func LoadEarly(path string) (Config, error) { return loadFile(path, true) }

// Read is Load for what r returns. name is the file that its errors name, and the Config's Path.
func Read(r io.Reader, name string) (Config, error) {
	text, err := readAll(r, maxFile)
	if err != nil {
		return Config{}, &unreadable{"configuration", name, err}
	}
	return parse(name, text, false)
}

// Parse is LoadEarly for a text. path is the file that it is said to be from.
func Parse(path string, text []byte) (Config, error) { return parse(path, text, true) }

func loadFile(path string, early bool) (Config, error) {
	text, err := readFile(path, maxFile)
	if err != nil {
		return Config{}, &unreadable{"configuration", path, err}
	}
	return parse(path, text, early)
}

// readFile reads a regular file of at most the given size.
func readFile(path string, most int64) ([]byte, error) {
	// O_NONBLOCK: opening a fifo would otherwise wait for a writer before we could see that it is
	// one.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s, want a regular file", describe(info.Mode()))
	}
	return readAll(f, most)
}

// readAll reads all of r, which must not be longer than the given size.
func readAll(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("longer than %s", notation.FormatSize(most))
	}
	return text, nil
}

// cause returns an error of package os without the operation and path, which unreadable has.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func describe(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "is a directory"
	case m&fs.ModeNamedPipe != 0:
		return "is a pipe"
	}
	return "is a device or socket"
}

// parse is Load for a text.
func parse(path string, text []byte, early bool) (Config, error) {
	d := &document{file: path, early: early, names: map[string]bool{}, failed: map[string]bool{}}
	values, fault := d.decode(text)
	if fault != nil {
		return Config{}, Faults{*fault}
	}
	c := d.config(values)
	var warnings []string
	for _, w := range d.sorted(d.warnings).shown("warnings") {
		warnings = append(warnings, w.String())
	}
	if len(d.faults) > 0 {
		return Config{Warnings: warnings}, d.sorted(d.faults).shown("errors")
	}
	c.Path, c.Warnings = path, warnings
	return c, nil
}

// decode returns the TOML values of a text and notes the line of each. It returns an error where
// the text is not TOML.
func (d *document) decode(text []byte) (map[string]any, *Fault) {
	if f := d.encoding(text); f != nil {
		return nil, f
	}
	scan := scanText(string(text))
	if scan.deep > 0 {
		return nil, &Fault{d.file, scan.deep, fmt.Sprintf("nested more than %d deep, want tables and arrays as the manual shows them", maxDepth)}
	}
	d.lines, d.bare, d.latin = scan.lines, scan.bares, scan.latin
	values, err := decodeTOML(string(text))
	if err != nil {
		return nil, d.syntax(err, scan)
	}
	if line := lostLine(scan.lines, values); line > 0 {
		return nil, &Fault{d.file, line, "not TOML: a key has a value and also keys below it"}
	}
	return values, nil
}

// encoding rejects what an editor may save without showing it.
func (d *document) encoding(text []byte) *Fault {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return &Fault{d.file, 1, "the file is UTF-16, want plain UTF-8"}
	}
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return &Fault{d.file, 1, "the file begins with a byte order mark, want plain UTF-8 without one"}
	}
	for i, line := 0, 1; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == 0:
			return &Fault{d.file, line, "a NUL byte, want plain UTF-8"}
		case r == utf8.RuneError && n == 1:
			return &Fault{d.file, line, fmt.Sprintf("byte 0x%02x is not UTF-8, want plain UTF-8", text[i])}
		case r == '\n':
			line++
		}
		i += n
	}
	return nil
}

// decodeTOML decodes into a map, not into Config: the library would match keys without regard to
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
