package recordfile

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// rotation is what is known of the rotations of a file.
type rotation struct {
	lumberjack *lumberjack.Logger // renames the file
	tried      time.Time          // when a rotation was last tried
	failing    bool               // that one failed
	// When the period of the file ends; if it is empty, perhaps of one before.
	due time.Time
}

// renamer returns what renames the file at path when it is rotated.
func renamer(path string) *lumberjack.Logger {
	return &lumberjack.Logger{
		Filename: path,
		// In MiB, never reached: we rotate exactly, and between lines.
		MaxSize: math.MaxInt32,
	}
}

// rotateFull rotates the file if a write failed because the file reached the limit of RLIMIT_FSIZE
// or of its file system. It reports whether it has.
func (f *File) rotateFull(failed error) bool {
	if !errors.Is(failed, unix.EFBIG) || f.out.size == 0 { // an empty file would not help
		return false
	}
	return (f.out.torn < 0 || f.cutBack() == nil) && f.rotate()
}

// rotate rotates the file, and reports whether it has. If it fails, lines still go to the old file,
// and rotation is tried again after a second.
func (f *File) rotate() bool {
	if f.rotation.failing && time.Since(f.rotation.tried) < time.Second {
		return false
	}
	if !names(f.opt.Path, f.out.handle) {
		// Another program has moved the file: the next write follows.
		f.out.looked = time.Time{}
		return false
	}
	err := f.rotateNow()
	if f.rotation.failing != (err != nil) {
		f.rotation.failing = err != nil
		f.opt.tell(Rotation, err)
	}
	return err == nil
}

// rotateNow renames the file, after it is on disk, and continues with a new file. It creates that
// first, so that nothing has changed if there is no space for it, for example without free inodes.
func (f *File) rotateNow() error {
	if err := f.sync(); err != nil {
		f.attempt.syncErr = err
		return err
	}
	f.rotation.tried = time.Now()
	next, info, err := f.makeNext()
	if err != nil {
		return f.opt.fail("rotate", cause(err))
	}
	if err := f.moveAside(); err != nil {
		return errors.Join(f.opt.fail("rotate", cause(err)), next.Close(), os.Remove(f.nextPath()))
	}
	f.opt.counted().Rotations.Add(1)
	old := f.out.handle
	f.use(next, info)
	f.keeper.keep(f.opt.rule())
	f.syncer.letGo(old)
	return nil
}

// nextPath returns the path at which the new file is created during a rotation.
func (f *File) nextPath() string { return hidden(f.opt.Path, ".next") }

// makeNext creates that file. A killed process may have left one, which is empty.
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

// moveAside renames the file to a backup, and the next file to the name of the file. If the second
// step fails, it undoes the first. If that fails too, nothing more may be written to the file,
// because it may be compressed and removed at any time.
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
		f.out.renamedAway = f.opt.fail("rotate", cause(err))
	}
	return err
}

// moveToBackup renames the file to a backup. lumberjack does that, and takes the name from the
// clock. If the order of the names would then not be the order of rotation, or if lumberjack fails,
// we do it. The path is "" if a compression that was under way was faster.
func (f *File) moveToBackup(disk disk) (path string, err error) {
	at := f.backupTime()
	if !at.After(time.Now()) {
		// It may fail after the rename, such as in chown(2).
		_ = disk.rotate(f.rotation.lumberjack)
		if path, ok := f.backupOf(at); ok || !names(f.opt.Path, f.out.handle) {
			return path, nil // "": it was renamed, and is compressed already
		}
	}
	for ; ; at = at.Add(time.Millisecond) {
		b := Backup{Of: f.opt.Path, At: at}
		path, b.Packed = b.Path(), true
		if _, err := os.Lstat(b.Path()); err == nil {
			continue // both would be the same backup
		}
		if err := disk.move(f.opt.Path, path); !errors.Is(err, unix.EEXIST) {
			return path, err
		}
	}
}

// backupOf returns the path of the backup that the open file has become, probably at this time or
// some milliseconds later.
func (f *File) backupOf(at time.Time) (path string, ok bool) {
	for n := range 8 {
		b := Backup{Of: f.opt.Path, At: at.Add(time.Duration(n) * time.Millisecond)}
		if names(b.Path(), f.out.handle) {
			return b.Path(), true
		}
	}
	backups, _ := Backups(f.opt.Path) // the next step reports an error
	for _, b := range slices.Backward(backups) {
		if names(b.Path(), f.out.handle) {
			return b.Path(), true
		}
	}
	return "", false
}

// backupTime returns the time for the name of the next backup. It is now, unless the name of the
// newest backup is later, because the clock was wrong then or is wrong now. So the order of the
// names is the order of rotation, whatever the clock does.
func (f *File) backupTime() time.Time {
	at := time.Now().UTC().Truncate(time.Millisecond)
	// If they cannot be listed, none is compressed or removed either.
	if last, ok := newest(f.opt.Path); ok && !at.After(last.At) {
		// stampForm has four digits.
		if after := last.At.Add(time.Millisecond); after.Year() <= 9999 {
			return after
		}
	}
	return at
}
