package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"tcpmux/config/document"
	"tcpmux/config/notation"
)

// maxFile is the size of the largest file in bytes.
const maxFile = 1 << 20

// Load reads the file at path and its drop-ins (see DropInDir); keys that the file does not set have
// their default. An error is ErrInvalid in the sense of errors.Is, and one of two kinds: the file
// could not be read, and no drop-in was (then it is also the cause, such as fs.ErrNotExist), or
// Faults, which holds all errors of all files. With an error, only Warnings of the Config are set.
// Load blocks on nothing but the disk: it opens regular files only.
func Load(path string) (Config, error) { return loadFile(path, false) }

// LoadEarly is Load for a caller that runs before file systems are mounted (systemd.generator(7)),
// or that checks each listener itself. It does not look up programs and users, and reads no rules.
func LoadEarly(path string) (Config, error) { return loadFile(path, true) }

// Read is Load for what r returns, without drop-ins. name is the file that its errors name, and the
// Config's Path.
func Read(r io.Reader, name string) (Config, error) {
	text, err := readAll(r, maxFile)
	if err != nil {
		return Config{}, &unreadable{"configuration", name, err}
	}
	return parse(name, text, false)
}

// Parse is LoadEarly for a text, without drop-ins. path is the file that it is said to be from.
func Parse(path string, text []byte) (Config, error) { return parse(path, text, true) }

func loadFile(path string, early bool) (Config, error) {
	text, err := readFile(path, maxFile)
	if err != nil {
		return Config{}, &unreadable{"configuration", path, err}
	}
	dropIns := readDropIns(DropInDir(path))
	c, err := parse(path, text, early, dropIns...)
	if err == nil {
		c.Fingerprint = fingerprint(text, dropIns)
	}
	return c, err
}

// FingerprintOf returns the Fingerprint that the Config of the file at path and its drop-ins would
// have now. It parses nothing. It returns "" if the file cannot be read.
func FingerprintOf(path string) string {
	text, err := readFile(path, maxFile)
	if err != nil {
		return ""
	}
	return fingerprint(text, readDropIns(DropInDir(path)))
}

func fingerprint(text []byte, dropIns []dropIn) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s", len(text), text)
	for _, f := range dropIns {
		fmt.Fprintf(h, "%q %q %d %s", f.path, f.fault, len(f.text), f.text)
	}
	return string(h.Sum(nil))
}

// readFile reads a regular file of at most the given size.
func readFile(path string, most int64) ([]byte, error) {
	// O_NONBLOCK: opening a fifo would otherwise wait for a writer before we could see that it
	// is one.
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

// parse is Load for a text, and for those of drop-ins.
func parse(path string, text []byte, early bool, dropIns ...dropIn) (Config, error) {
	set := new(document.Set)
	main := set.Parse(path, text)
	r := &reader{Set: set, Document: main, early: early, names: map[string]document.Place{}}
	r.parseDropIns(dropIns)
	if main == nil { // nothing can be said of tables that inherit from it
		return Config{}, set.Faults()
	}
	c := r.config()
	var warnings []string
	for _, w := range set.Warnings() {
		warnings = append(warnings, w.String())
	}
	if faults := set.Faults(); len(faults) > 0 {
		return Config{Warnings: warnings}, faults
	}
	c.Path, c.Warnings = path, warnings
	return c, nil
}
