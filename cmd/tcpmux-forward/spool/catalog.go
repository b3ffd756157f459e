package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tcpmux/daemon/recordfile"
)

// catalog remembers what is known of files, so that they need not be opened again. Its methods may
// be called from any goroutine.
type catalog struct {
	paths map[string]bool // the record files themselves
	mu    sync.Mutex
	known map[string]entry // by name
}

func newCatalog(paths []string) *catalog {
	c := &catalog{paths: make(map[string]bool), known: make(map[string]entry)}
	for _, p := range paths {
		c.paths[p] = true
	}
	return c
}

// directory is what a directory has.
type directory struct {
	// rotated are the files that the daemon has rotated, by the path that they had, the oldest
	// first. One that is there compressed and uncompressed, after a crash or because it is
	// being compressed, is there once.
	rotated map[string][]recordfile.Backup
	others  []string // the names of other regular files
}

// readDir reads a directory. One that does not exist is empty.
func readDir(name string) (*directory, error) {
	d := &directory{rotated: make(map[string][]recordfile.Backup)}
	all, err := os.ReadDir(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range all {
		if !e.Type().IsRegular() {
			continue
		}
		if b, ok := recordfile.ParseBackup(filepath.Join(name, e.Name())); ok {
			d.rotated[b.Of] = append(d.rotated[b.Of], b)
		} else {
			d.others = append(d.others, e.Name())
		}
	}
	for of, list := range d.rotated {
		slices.SortFunc(list, recordfile.Backup.Compare)
		d.rotated[of] = slices.CompactFunc(list, same)
	}
	return d, nil
}

// same reports whether two names are those of one rotated file, compressed or not.
func same(a, b recordfile.Backup) bool { return a.At.Equal(b.At) }

// coarse is more than the clock of a file system may stand still: two files with the same inode, one
// after the other, could have the same time and size.
const coarse = 100 * time.Millisecond

// entry returns what is known of the file with a name. It opens the file if that has changed.
func (c *catalog) entry(name string) entry {
	info, err := os.Lstat(name)
	if err != nil {
		return entry{name: name, err: err}
	}
	if e, ok := c.get(name); ok && e.err == nil && e.settled && e.id == identify(info) && e.stored == info.Size() && e.mtime.Equal(info.ModTime()) {
		return e
	}
	e := probe(name)
	e.settled = time.Since(e.mtime) > coarse
	c.put(e)
	return e
}

// rotated is entry for a file that the daemon has rotated. What is known of it stays. If it is
// being compressed, it has another name.
func (c *catalog) rotated(b recordfile.Backup) entry {
	name := b.Path()
	if e, ok := c.get(name); ok && e.rotated && e.mark != "" && e.err == nil {
		return e
	}
	e := probe(name)
	if errors.Is(e.err, fs.ErrNotExist) && !b.Packed {
		b.Packed = true
		e = probe(b.Path())
	}
	e.rotated, e.at = true, b.At
	c.put(e)
	return e
}

func (c *catalog) get(name string) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[name]
	return e, ok
}

// mostKnown bounds the catalog, which has names that are no more.
const mostKnown = 1 << 16

func (c *catalog) put(e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= mostKnown {
		clear(c.known)
	}
	c.known[e.name] = e
}

// forget has the catalog look at the file with a name again.
func (c *catalog) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, name)
}
