package record

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// fit returns the lines at the head of lines that may be written now; it rotates when the first of them does not fit.
func (f *File) fit(lines []byte) []byte {
	room := f.opt.MaxSize - f.size
	if int64(len(lines)) <= room {
		return lines
	}
	if room > 0 {
		if end := bytes.LastIndexByte(lines[:room], '\n'); end >= 0 {
			return lines[:end+1]
		}
	}
	switch {
	case f.size == 0: // one line, longer than a file may be
		return bytes.SplitAfterN(lines, []byte("\n"), 2)[0]
	case f.rotate():
		return f.fit(lines)
	}
	return lines
}

// rotateFull rotates the file after a write that failed as no file may become so large, by RLIMIT_FSIZE or on its file system.
func (f *File) rotateFull(failed error) bool {
	if !errors.Is(failed, unix.EFBIG) || f.size == 0 { // an empty one would be no better
		return false
	}
	return (f.torn < 0 || f.cutBack() == nil) && f.rotate()
}

// rotate makes room by a new file. When it cannot, the old one is written on, and rotating is tried again a second later.
func (f *File) rotate() bool {
	if f.failing && time.Since(f.rotated) < time.Second {
		return false
	}
	if !names(f.opt.Path, f.f) {
		f.looked = time.Time{} // somebody has moved it aside already: the next write follows
		return false
	}
	err := f.rotateNow()
	if f.failing != (err != nil) {
		f.failing = err != nil
		f.opt.tell(Rotation, err)
	}
	return err == nil
}

// rotateNow moves the file aside, once it is on disk, and goes on in a new one. That is made first: where there is no room for
// another file, as on a file system without free inodes, nothing has happened.
func (f *File) rotateNow() error {
	if err := f.sync(); err != nil {
		f.doubt = err
		return err
	}
	f.rotated = time.Now()
	next, info, err := f.makeNext()
	if err != nil {
		return f.opt.fail("rotate", cause(err))
	}
	if err := f.moveAside(); err != nil {
		return errors.Join(f.opt.fail("rotate", cause(err)), next.Close(), os.Remove(f.nextPath()))
	}
	old := f.f
	f.use(next, info)
	f.keeper.keep(f.opt.rule())
	f.syncer.letGo(old)
	return nil
}

// nextPath is where the file is made that takes the place of the one that is rotated.
func (f *File) nextPath() string { return hidden(f.opt.Path, ".next") }

// makeNext makes that file. One that a process left there which was killed is empty.
func (f *File) makeNext() (handle, fs.FileInfo, error) {
	if err := os.Remove(f.nextPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	file, err := f.create(f.nextPath())
	if err != nil {
		return nil, nil, err
	}
	next, info, err := f.opt.held(file)
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(f.nextPath()))
	}
	return next, info, nil
}

// moveAside gives the file the name of a backup, and its own name to the next one. When the second fails the first is undone; when
// that fails too, nothing more may be written to the file, which may be compressed and removed at any time.
func (f *File) moveAside() error {
	disk := f.opt.storage()
	backup, err := f.moveToBackup(disk)
	if err != nil {
		return err
	}
	if err = disk.rename(f.nextPath(), f.opt.Path); err == nil {
		return nil
	}
	if back := disk.move(backup, f.opt.Path); back != nil {
		f.astray = f.opt.fail("rotate", cause(err))
	}
	return err
}

// moveToBackup gives the file the name of a backup. lumberjack does that, by the clock; where the order of the names would not be the
// order of rotation then, or lumberjack cannot, we do.
func (f *File) moveToBackup(disk disk) (path string, err error) {
	at := f.backupTime()
	if !at.After(time.Now()) {
		_ = disk.rotate(f.rotator) // it may fail when the file is moved already, as with chown(2); what matters is whether it is
		if path, ok := f.backupOf(); ok {
			return path, nil
		}
	}
	for ; ; at = at.Add(time.Millisecond) {
		b := Backup{Of: f.opt.Path, At: at}
		path, b.Packed = b.Path(), true
		if _, err := os.Lstat(b.Path()); err == nil {
			continue // it would be taken for the same one, compressed
		}
		if err := disk.move(f.opt.Path, path); !errors.Is(err, unix.EEXIST) {
			return path, err
		}
	}
}

// backupOf is the backup that the open file is by now.
func (f *File) backupOf() (path string, ok bool) {
	backups, _ := Backups(f.opt.Path) // an error is told by what is tried next
	for _, b := range slices.Backward(backups) {
		if names(b.Path(), f.f) {
			return b.Path(), true
		}
	}
	return "", false
}

// backupTime is the time for the name of the next backup: now, unless the newest one is named later, by a clock that was wrong then
// or is wrong now. The order of the names is the order in which files were rotated, whatever the clock does.
func (f *File) backupTime() time.Time {
	at := time.Now().UTC().Truncate(time.Millisecond)
	backups, _ := Backups(f.opt.Path) // where they cannot be listed, none is compressed or removed either
	if n := len(backups); n > 0 && !at.After(backups[n-1].At) {
		if after := backups[n-1].At.Add(time.Millisecond); after.Year() <= 9999 { // the form has no room for more
			return after
		}
	}
	return at
}
