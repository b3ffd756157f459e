// Package records reads record files: Verify proves that they are whole, and Cat restores what
// clients sent. It promises that it trusts nothing that the file itself can prove, that it says
// what the file cannot prove, and that its memory is bounded by the number of sessions that were
// open at once, however long the files are. It changes nothing, and what it reports about a file is
// safe to print.
package records

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"tcpmux/daemon/recordfile"
)

// Files are record files in the order in which they were written.
type Files struct {
	list  []*file
	stdin *os.File
	// Progress is called with the number of bytes that were read, as the files are on disk. It
	// may be nil.
	Progress func(n int64)
	// idle is called before each read of standard input that may wait. It may be nil.
	idle func()
	// again is true if the files will be read a second time.
	again bool
	// opened is called when a file was opened, before its backups are searched for. It is nil
	// except in tests.
	opened func()
}

// file is one of the files. It stays open, so that a rotation meanwhile takes nothing away.
type file struct {
	name  string
	f     *os.File
	info  fs.FileInfo
	start int64 // where in f it begins
	// What was read of it, if it can be read only once; nil before the first reading.
	spool             *os.File
	recordfile.Backup // Of is itself, and At zero, if it is none
}

// Open opens record files, rotated and compressed ones too; withBackups, also those that each was
// rotated to. Rotated files come in the order of the times in their names and before the one that
// they were rotated from, otherwise the order is that of names. A file that is named several times
// is read once. StandardInput stands for stdin, which stays open.
func Open(names []string, withBackups bool, stdin *os.File) (*Files, error) {
	fs := &Files{stdin: stdin}
	for _, name := range names {
		open := fs.open
		if withBackups {
			open = fs.openWithBackups
		}
		if err := open(name); err != nil {
			return nil, errors.Join(err, fs.Close())
		}
	}
	fs.sort()
	return fs, nil
}

// absent is how long a file that has backups may be missing itself: a rotation moves the file a
// moment before it makes the new one.
const absent = 500 * time.Millisecond

// StandardInput is the name that stands for standard input; "./-" is a file of that name.
const StandardInput = "-"

func (fs *Files) open(name string) error {
	if name == StandardInput {
		return fs.openStandardInput()
	}
	// The latter so that a FIFO cannot hold us up.
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	f, err := os.OpenFile(name, flags, 0)
	for late := time.Now().Add(absent); errors.Is(err, os.ErrNotExist) && rotated(name) && time.Now().Before(late); {
		time.Sleep(time.Millisecond)
		f, err = os.OpenFile(name, flags, 0)
	}
	if err != nil {
		return fmt.Errorf("open record file %q: %w", name, reason(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open record file %q: %w", name, reason(err)), f.Close())
	}
	if fs.has(info) {
		return f.Close()
	}
	b, _ := recordfile.ParseBackup(name) // else it is one of itself
	fs.list = append(fs.list, &file{name: name, f: f, info: info, Backup: b})
	return nil
}

// has reports whether a file was opened before.
func (fs *Files) has(info fs.FileInfo) bool {
	return slices.ContainsFunc(fs.list, func(known *file) bool { return os.SameFile(known.info, info) })
}

// openStandardInput adds standard input. A regular file is read from its current offset; anything
// else can be read only once.
func (fs *Files) openStandardInput() error {
	info, err := fs.stdin.Stat()
	if err == nil && info.IsDir() {
		err = syscall.EISDIR
	}
	f := &file{name: StandardInput, f: fs.stdin, info: info, Backup: recordfile.Backup{Of: StandardInput}}
	if err == nil && info.Mode().IsRegular() {
		f.start, err = fs.stdin.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		return fmt.Errorf("read standard input: %w", reason(err))
	}
	if !fs.has(info) {
		fs.list = append(fs.list, f)
	}
	return nil
}

// rotated reports whether a file has backups.
func rotated(name string) bool {
	backups, err := recordfile.Backups(name)
	return err == nil && len(backups) > 0
}

// openWithBackups opens name and what it was rotated to, and starts over when it is rotated
// meanwhile: what was the file would be among its backups too, and perhaps compressed.
func (fs *Files) openWithBackups(name string) error {
	for {
		before := len(fs.list)
		if err := fs.open(name); err != nil || name == StandardInput {
			return err
		}
		if fs.opened != nil {
			fs.opened()
		}
		if err := fs.openBackups(name); err != nil {
			return err
		}
		if len(fs.list) == before || fs.list[before].name != name {
			return nil // it was named before
		}
		if now, err := os.Stat(name); err == nil && os.SameFile(now, fs.list[before].info) {
			return nil
		}
		again := &Files{list: fs.list[before:]}
		fs.list = fs.list[:before]
		if err := again.Close(); err != nil {
			return err
		}
	}
}

// openBackups opens the files that name was rotated to. If one is compressed meanwhile, it is
// opened under its other name; if one is removed, it is skipped.
func (fs *Files) openBackups(name string) error {
	backups, err := recordfile.Backups(name)
	if err != nil {
		return err
	}
	for _, b := range backups {
		err := fs.open(b.Path())
		if errors.Is(err, os.ErrNotExist) && !b.Packed {
			b.Packed = true
			err = fs.open(b.Path())
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sort brings the files into order. If a file exists both compressed and not, the latter is kept.
func (fs *Files) sort() {
	first := make(map[string]int)
	for i, f := range fs.list {
		if _, ok := first[f.Of]; !ok {
			first[f.Of] = i
		}
	}
	slices.SortStableFunc(fs.list, func(a, b *file) int {
		return cmp.Or(first[a.Of]-first[b.Of], a.Compare(b.Backup))
	})
	kept := fs.list[:0]
	for _, f := range fs.list {
		if n := len(kept); n > 0 && kept[n-1].Of == f.Of && kept[n-1].At.Equal(f.At) && !kept[n-1].Packed && f.Packed {
			_ = f.f.Close() // nothing was read of it
			continue
		}
		kept = append(kept, f)
	}
	fs.list = kept
}

// Size returns the number of bytes of the files on disk; 0 if the size of one is not known.
func (fs *Files) Size() (n int64) {
	for _, f := range fs.list {
		if !f.info.Mode().IsRegular() {
			return 0
		}
		n += f.info.Size()
	}
	return n
}

// Close closes the files.
func (fs *Files) Close() error {
	var errs []error
	for _, f := range fs.list {
		if f.f != fs.stdin {
			errs = append(errs, f.f.Close())
		}
		if f.spool != nil {
			errs = append(errs, f.spool.Close())
		}
	}
	return errors.Join(errs...)
}

// reason removes the operation and the path from an error that would repeat them.
func reason(err error) error {
	if p, ok := err.(*fs.PathError); ok {
		return p.Err
	}
	return err
}
