package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// Drop-ins are files that hold [[listener]] tables and nothing else, so that a package can bring a
// listener without a change of the main file, on which all other settings depend.

// maxDropIns is how many drop-ins there may be. Together they may be as long as the main file.
const maxDropIns = 1000

// DropInDir returns the directory of the drop-ins of the configuration at path: /etc/tcpmux.d for
// DefaultPath, and path with ".d" behind it for any other. Drop-ins are its files *.toml whose names
// do not begin with a dot, in the byte order of their names. The directory need not exist.
func DropInDir(path string) string {
	if abs, err := filepath.Abs(path); err == nil && abs == DefaultPath {
		return strings.TrimSuffix(DefaultPath, ".toml") + ".d"
	}
	return path + ".d"
}

// dropIn is a file that was read, or that could not be.
type dropIn struct {
	path  string
	text  []byte
	fault string // why there is no text; "" if there is
}

// readDropIns reads the drop-ins in a directory.
func readDropIns(dir string) (files []dropIn) {
	names, err := dropInNames(dir)
	if err != nil {
		files = append(files, dropIn{path: dir, fault: "cannot be read: " + err.Error()})
	}
	left := int64(maxFile)
	for _, name := range names {
		f := dropIn{path: filepath.Join(dir, name)}
		f.text, err = readFile(f.path, maxFile)
		if err != nil {
			f.fault = "cannot be read: " + err.Error()
		} else if left -= int64(len(f.text)); left < 0 {
			f.fault = fmt.Sprintf("is too long: the drop-ins up to it are longer than %s together", notation.FormatSize(maxFile))
			return append(files, f)
		}
		files = append(files, f)
	}
	return files
}

// dropInNames returns the names of the drop-ins in a directory, sorted.
func dropInNames(dir string) (names []string, err error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = d.Close() }() // nothing was written
	for {
		some, err := d.Readdirnames(maxDropIns) // however many files there are of another kind
		for _, name := range some {
			if strings.HasSuffix(name, ".toml") && !strings.HasPrefix(name, ".") {
				names = append(names, name)
			}
		}
		switch {
		case len(names) > maxDropIns:
			return nil, fmt.Errorf("it has more than %d files *.toml", maxDropIns)
		case errors.Is(err, io.EOF):
			slices.Sort(names)
			return names, nil
		case err != nil:
			return nil, cause(err)
		}
	}
}

// parseDropIns parses drop-ins, and reports those that could not be read.
func (r *reader) parseDropIns(files []dropIn) {
	for _, f := range files {
		if f.fault != "" {
			r.Set.Fault(f.path, f.fault)
			continue
		}
		if d := r.Parse(f.path, f.text); d != nil {
			r.dropIns = append(r.dropIns, d)
		}
	}
	r.partial = len(r.dropIns) < len(files)
}

// dropInTables returns the listeners of a drop-in, and reports all else that is in it.
func (r *reader) dropInTables(d *document.Document) []table {
	top := table{Table: d.Top(), reader: r}
	for i, name := range top.Unknown([]string{"listener"}) {
		if i >= fault.Most { // no more are shown
			top.At(name).Fault("is not allowed here")
			continue
		}
		top.At(name).Fault("is not allowed in a drop-in, which has [[listener]] tables only%s", r.belongs(name))
	}
	return r.listenerTables(top)
}

// belongs returns what follows the name of a key that stands at the top of a drop-in: where it
// belongs.
func (r *reader) belongs(name string) string {
	main := fault.Printable(r.Top().File())
	switch {
	case slices.Contains(section{}.tables(), name):
		return fmt.Sprintf(": want [%s] in %s", name, main)
	case find(section{listener: true}, name) == nil && find(section{}, name) == nil:
		return suggestion(name, section{}, []string{"listener"})
	case find(section{}, name) == nil:
		return ": want it below [[listener]]"
	case find(section{listener: true}, name) == nil:
		return ": want it in " + main
	}
	return ": want it below [[listener]], or in " + main
}
