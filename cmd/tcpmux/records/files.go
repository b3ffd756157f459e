// Package records reads record files: Verify proves that they are whole, Cat gives back what
// clients sent. It promises whoever stakes a claim on a file that nothing is taken on trust which
// the file itself can show, that what it cannot show is said, and that memory is bounded by the
// sessions that were open at once, however long the files are. It changes nothing, and what it
// tells of a file is safe to print.
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

	"tcpmux/daemon/record"
)

// Files are record files in the order in which they were written.
type Files struct {
	list  []*file
	stdin *os.File
	// Progress is told how many bytes of the files as they lie on disk have been read. nil: nobody
	// is.
	Progress func(n int64)
	// idle is called before each read of standard input that may wait. nil: nothing is.
	idle func()
	// again says that the files will be read a second time.
	again bool
	// opened is called when a file was opened, before its backups are looked for. nil but in tests.
	opened func()
}

// file is one of them. It is held open, so that a rotation meanwhile takes nothing away.
type file struct {
	name          string
	f             *os.File
	info          fs.FileInfo
	start         int64    // where in f it begins
	spool         *os.File // what was read of it, if it can be read only once; nil before the first reading
	record.Backup          // Of is itself, and At zero, if it is none
}

// Open opens record files, rotated and compressed ones too; withBackups, also those that each was
// rotated to. Rotated files come in the order of the times in their names and before the one that
// they were rotated from, otherwise the order is that of names. A file is read once, however often
// it is named. StandardInput stands for stdin, which stays open.
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

// absent is how long a file that has backups may not be there itself: in a rotation there is a
// moment between the move and the new file.
const absent = 500 * time.Millisecond

// StandardInput is the name that stands for standard input; "./-" is a file of that name.
const StandardInput = "-"

func (fs *Files) open(name string) error {
	if name == StandardInput {
		return fs.openStandardInput()
	}
	const flags = os.O_RDONLY | syscall.O_NONBLOCK // the latter so that a FIFO cannot hold us up
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
	b, _ := record.ParseBackup(name) // else it is one of itself
	fs.list = append(fs.list, &file{name: name, f: f, info: info, Backup: b})
	return nil
}

// has reports whether a file is among them.
func (fs *Files) has(info fs.FileInfo) bool {
	return slices.ContainsFunc(fs.list, func(known *file) bool { return os.SameFile(known.info, info) })
}

// openStandardInput adds standard input. If it is a regular file it is read from where it stands;
// else it can be read only once.
func (fs *Files) openStandardInput() error {
	info, err := fs.stdin.Stat()
	if err == nil && info.IsDir() {
		err = syscall.EISDIR
	}
	f := &file{name: StandardInput, f: fs.stdin, info: info, Backup: record.Backup{Of: StandardInput}}
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
	backups, err := record.Backups(name)
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

// openBackups opens what name was rotated to. One that is compressed or removed while we look is
// looked for under its other name, and passed over.
func (fs *Files) openBackups(name string) error {
	backups, err := record.Backups(name)
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

// sort brings the files into order. Of one that is there compressed and not, the latter is kept.
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

// Size is how many bytes the files have, as they lie on disk; 0 when that of one of them is not
// known.
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

// reason takes the operation and the path off an error that names them again.
func reason(err error) error {
	if p, ok := err.(*fs.PathError); ok {
		return p.Err
	}
	return err
}
