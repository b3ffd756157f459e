// Package recordfile appends lines to a file that survives what happens to files: it rotates the
// file, keeps, compresses and removes the rotated ones, syncs what was written, cuts off what a
// failed write has left, and follows a file that another program has moved. Whoever writes the
// lines learns how many of them are in the file for good. The file may be standard output.
package recordfile

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// File appends lines to a file and rotates it. Create one with Open. Its methods may be called from
// any goroutine. A lock file ensures that no other process and no other File writes the same file.
//
// File has its own descriptor, opened with O_APPEND. So it can truncate the file after a write that
// failed half-way, and it notices if the file was truncated, moved or deleted from outside.
// lumberjack only renames the file when it is rotated.
type File struct {
	mu       sync.Mutex
	opt      Options
	lock     *lock
	keeper   *keeper
	syncer   syncer
	rotation rotation
	journal  Journal // notes what is written; nil: none
	out      output  // the file that is written now
	stdout   *stdout // what is written instead; nil: out
	attempt  attempt // what a Write has to know until it returns
	spare    int64   // bytes that may be written until the free space is checked again
}

// output is an open file and what is known of it.
type output struct {
	handle          // nil: closed, or File.stdout is written
	id     identity // from when it was opened
	size   int64    // with everything that was written
	// Where to truncate after a write that failed half-way; -1: nothing to truncate.
	torn   int64
	looked time.Time // when the name was last compared with the descriptor
	// needsAdopt reports that others may have written to the file: adopt it before the next
	// write.
	needsAdopt bool
	// renamedAway is why a rotation left the file under the name of a backup. Nothing may be
	// written to it. nil: the file has its name.
	renamedAway error
}

// identity tells a file from all others, whatever its name.
type identity struct{ device, inode int64 }

// identify returns the identity of a file.
func identify(info fs.FileInfo) identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{int64(st.Dev), int64(st.Ino)}
}

// Open opens or creates a file for appending. It returns an error for a symbolic link and for
// anything but a regular file, because users that can write to the directory could otherwise make
// the daemon write elsewhere; and for a file that another process writes. The caller closes the
// File.
func Open(opt Options) (*File, error) {
	f := &File{opt: opt, keeper: newKeeper(opt.tell)}
	f.syncer.opt, f.syncer.due = &f.opt, f.syncDue
	var err error
	if opt.Path == Stdout {
		if f.stdout, err = openStdout(max(opt.fd, 1)); err != nil {
			return nil, f.opt.fail("open", err)
		}
		return f, nil
	}
	if f.lock, err = lockBeside(opt.Path); err != nil {
		return nil, f.opt.fail("open", cause(err))
	}
	if err := f.begin(); err != nil {
		return nil, errors.Join(err, f.lock.release())
	}
	return f, nil
}

// begin opens the file of f.opt. The lock is held.
func (f *File) begin() error {
	f.rotation.lumberjack = renamer(f.opt.Path)
	_ = os.Remove(f.nextPath()) // left by a process that was killed while it rotated; empty
	if err := f.open(); err != nil {
		return err
	}
	if err := f.adopt(); err != nil {
		f.keeper.stop()
		return errors.Join(err, f.out.Close())
	}
	if f.opt.Sync != SyncNever {
		f.syncer.owed = f.out.size > 0
		_ = f.syncer.syncName() // the first sync tries it again
	}
	f.keeper.keep(f.opt.rule())
	return nil
}

// Journal is told of each write(2), so that after a kill in between it can be found out how much of
// it was done. It is an alias, so that a package with a journal needs nothing of this one.
type Journal = interface {
	// Mark is called before lines are appended to a file of the given size.
	Mark(device, inode, size int64)
	// Wrote is called when n bytes, whole lines, were appended.
	Wrote(n int)
	// Unwrite is called before the last n bytes are truncated, back to the given size.
	Unwrite(n int, size int64)
}

// KeepIn makes j note what is written.
func (f *File) KeepIn(j Journal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.journal = j
}

// Path returns the name of the file.
func (f *File) Path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opt.Path
}

// Reopen replaces the options. If the path changes, it opens the new file. After an error nothing
// has changed. If the file was moved or deleted, Reopen creates it again, as Write does within a
// second.
func (f *File) Reopen(opt Options) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.find()
	if opt.Path == f.opt.Path {
		if err != nil {
			return err
		}
		return f.change(opt)
	}
	if f.out.handle == nil && f.stdout == nil {
		return err
	}
	// If the path changes, an error of the old file does not matter.
	next, err := Open(opt)
	if err != nil {
		return err
	}
	f.leave()
	f.opt, f.lock, f.keeper, f.rotation, f.out, f.stdout = opt, next.lock, next.keeper, next.rotation, next.out, next.stdout
	f.syncer.nameless, f.syncer.unsynced, f.spare = next.syncer.nameless, time.Time{}, 0
	if f.stdout != nil {
		f.syncer.note(nil) // nothing is synced any more
	}
	return nil
}

// leave closes what is written, because another file follows. What was wrong with the file is over,
// as it is no longer ours.
func (f *File) leave() {
	f.keeper.stop()
	if f.stdout != nil {
		f.stdout.close()
		return
	}
	f.syncer.letGo(f.out.handle)
	if f.rotation.failing {
		f.opt.tell(Rotation, nil)
	}
	f.keeper.forget()
	_ = f.lock.release() // the next file has its own lock
}

// Follow creates the file again if it was moved or deleted, as Write does within a second. When it
// returns without an error, nothing more is written to the old file, which is on disk unless Sync
// is SyncNever.
func (f *File) Follow() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find()
}

// find creates the file again if it has no longer its name.
func (f *File) find() error {
	switch {
	case f.stdout != nil:
		return nil
	case f.out.handle == nil:
		return f.opt.fail("reopen", fs.ErrClosed)
	}
	f.out.looked = time.Time{}
	return f.prepare()
}

// change replaces the options for the same file. After an error the old options are in force.
func (f *File) change(opt Options) error {
	if f.stdout != nil {
		f.opt = opt
		return nil
	}
	was := f.opt.Sync
	f.opt.Sync = opt.Sync // earlier lines become as safe as the new options require
	err := f.sync()
	if err == nil {
		err = f.refit(opt)
	}
	var info fs.FileInfo // nil: the period stays
	if err == nil && opt.Rotate != f.opt.Rotate {
		info, err = f.out.Stat()
		err = f.opt.fail("stat", cause(err))
	}
	if err != nil {
		f.opt.Sync = was
		return err
	}
	f.opt = opt
	if info != nil {
		f.schedule(info)
	}
	f.keeper.keep(f.opt.rule())
	return nil
}

// refit applies the format and the mode of opt to the file.
func (f *File) refit(opt Options) error {
	if opt.Format != f.opt.Format && f.out.size > 0 {
		if err := f.rotateNow(); err != nil {
			return err
		}
	}
	if opt.Mode == f.opt.Mode {
		return nil
	}
	return f.opt.fail("change mode of", cause(f.out.Chmod(opt.Mode)))
}

// Close syncs the file, unless Sync is SyncNever, and closes it. Write fails afterwards. A second
// Close does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stdout != nil {
		f.stdout.close()
		f.stdout = nil
	}
	if f.out.handle == nil {
		return nil
	}
	f.keeper.stop()
	f.syncer.stop()
	err := errors.Join(f.sync(), f.out.Close(), f.lock.release())
	f.out.handle = nil
	return err
}

// openFlags are the flags for a record file. With O_NONBLOCK, a FIFO cannot block the daemon.
const openFlags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK

// open opens or creates the file, and sets f.out.
func (f *File) open() error {
	file, err := f.opt.storage().open(f.opt.Path, openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = f.create(f.opt.Path)
	}
	if errors.Is(err, unix.ELOOP) {
		return f.opt.fail("open", errors.New("is a symbolic link, want the file itself"))
	}
	if err != nil {
		return f.opt.fail("open", cause(err))
	}
	out, info, err := f.opt.held(file)
	if err != nil {
		return f.opt.fail("open", cause(err))
	}
	f.use(out, info)
	return nil
}

// held returns the handle of an open file. If the file is not a regular file, it is closed.
func (o *Options) held(file *os.File) (out handle, info fs.FileInfo, err error) {
	info, err = file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err == nil {
		out, err = o.storage().hold(file)
	}
	if err != nil {
		_ = file.Close() // nothing was written
	}
	return out, info, err
}

// use sets f.out.
func (f *File) use(out handle, info fs.FileInfo) {
	size := info.Size()
	f.out = output{handle: out, id: identify(info), size: size, torn: -1, looked: f.opt.now(), needsAdopt: size > 0}
	f.attempt.base = size
	f.schedule(info)
	// The process that created the file may not have synced the directory.
	f.syncer.nameless = true
}

// create creates a file with the configured mode, whatever the umask.
func (f *File) create(path string) (*os.File, error) {
	file, err := f.opt.storage().open(path, openFlags|os.O_CREATE|os.O_EXCL, f.opt.Mode)
	if err != nil {
		return nil, err
	}
	if err := file.Chmod(f.opt.Mode); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return file, nil
}
