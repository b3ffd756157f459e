package record

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// FileOptions say where a File is and when it is rotated.
type FileOptions struct {
	// Path is the file's name. Its directory must be there.
	Path string
	// Mode is the permission bits of a file that has to be made, whatever the umask.
	Mode fs.FileMode
	// MaxSize is the size in bytes that the file does not exceed: it is rotated before a line that would. Only a single line
	// that is longer may make a file larger.
	MaxSize int64
	// MaxBackups is how many rotated files are kept; 0 keeps all.
	MaxBackups int
	// MaxAge is how long rotated files are kept; 0 keeps them for ever.
	MaxAge time.Duration
	// Compress says whether rotated files are compressed with gzip.
	Compress bool
	// Sync is how long after a write fdatasync(2) follows at the latest; SyncAlways has Write wait for it, SyncNever leaves it out.
	Sync time.Duration
	// MinFree is how many bytes Write leaves free on the file system for others: with fewer it fails. Compression leaves them too,
	// and is tried again after the next rotation, or an hour. 0 lets the disk run full.
	MinFree int64
	// Format is that of the lines. A file that has lines of the other format is rotated before the first is written.
	Format Format
	// Trouble is called when something begins to fail that is no loss yet, with the error, and with nil when it works again.
	// It may be called with the File locked: it must not write to it. nil: nobody is told.
	Trouble func(Trouble, error)

	disk disk // nil: kernel
}

// storage is the disk that the file is on.
func (o FileOptions) storage() disk {
	if o.disk == nil {
		return kernel{}
	}
	return o.disk
}

// Trouble is what fails while lines are still written.
type Trouble int

const (
	// Rotation fails: the old file is written on, and grows.
	Rotation Trouble = iota
	// Retention fails: backups are not removed or compressed as they should be.
	Retention
	// Syncing fails: what was written since the last sync may not survive a loss of power. Until it works again Write waits for the
	// disk, and fails with it.
	Syncing
	// TornLine is told once, when the file was opened and ended in the middle of a line; the error says what was done about it.
	TornLine
)

// pruneInterval is how often backups are looked at although nothing was rotated: they age.
const pruneInterval = time.Hour

// File appends lines to a file and rotates it. Methods may be called from any goroutine. No other process, and no other File,
// may have the file open at the same time: a lock beside it sees to that.
//
// The bytes go through a descriptor of our own, opened with O_APPEND, so that a write that failed half-way can be cut back and
// a file that was truncated, moved or deleted from outside is noticed. lumberjack moves it aside and names it.
type File struct {
	mu      sync.Mutex
	opt     FileOptions
	rotator *lumberjack.Logger
	keeper  *keeper
	lock    *lock
	f       handle
	size    int64
	base    int64     // up to here the file is none of this Write's affair
	torn    int64     // where a write that failed half-way has to be cut off; -1: nowhere
	looked  time.Time // when the name was last compared with the descriptor
	pruned  time.Time // when the backups were last looked at
	rotated time.Time // when the last rotation was tried
	failing bool      // the last rotation failed
	unfit   bool      // somebody else's writing has not been made fit for ours yet
	astray  error     // why the descriptor is that of a file which was moved aside: nothing may be written to it
	spare   int64     // bytes that may be written until the room on the disk is looked at again

	nameless bool        // the directory may not be on disk
	unsynced time.Time   // when the first line was written that no sync has been begun for; zero: there is none
	doubt    error       // the sync in this Write that failed
	unsafe   bool        // the last sync failed
	told     bool        // and it was told
	timer    *time.Timer // calls syncNow
	timed    bool        // it will, or does
}

// OpenFile opens the file for appending, or makes it. A symbolic link or anything but a regular file is refused: who may
// write the directory could otherwise have the daemon write elsewhere. So is a file that somebody else writes.
func OpenFile(opt FileOptions) (*File, error) {
	f := &File{opt: opt, torn: -1}
	var err error
	if f.lock, err = lockBeside(opt.Path); err != nil {
		return nil, f.fail("open", cause(err))
	}
	f.keeper = newKeeper(func(err error) {
		if opt.Trouble != nil {
			opt.Trouble(Retention, err)
		}
	})
	if err := f.begin(); err != nil {
		return nil, errors.Join(err, f.lock.release())
	}
	return f, nil
}

// begin opens the file of f.opt, whose lock is held.
func (f *File) begin() error {
	f.rotator = &lumberjack.Logger{
		Filename: f.opt.Path,
		MaxSize:  math.MaxInt32, // in MiB, never reached: when to rotate is ours to say, to the byte and between lines
	}
	if err := f.open(); err != nil {
		return err
	}
	if err := f.adopt(); err != nil {
		f.keeper.stop()
		return errors.Join(err, f.f.Close())
	}
	if f.opt.Sync != SyncNever {
		_ = f.syncName() // it is owed then, and tried again with the first sync
	}
	f.prune()
	return nil
}

// prune has the backups looked at.
func (f *File) prune() {
	f.pruned = time.Now()
	f.keeper.keep(rule{path: f.opt.Path, most: f.opt.MaxBackups, age: f.opt.MaxAge, compress: f.opt.Compress, minFree: f.opt.MinFree})
}

// tell tells whoever wants to know.
func (f *File) tell(what Trouble, err error) {
	if f.opt.Trouble != nil {
		f.opt.Trouble(what, err)
	}
}

// Path is the file's name.
func (f *File) Path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opt.Path
}

// Write appends lines. It returns how many bytes are in the file for good, and with SyncAlways on disk: with an error, that is
// where a line ends, and what is behind it has to be written again.
func (f *File) Write(lines []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return 0, f.fail("write", fs.ErrClosed)
	}
	if err := f.settle(); err != nil {
		return 0, err
	}
	if err := f.checkRoom(len(lines)); err != nil {
		return 0, err
	}
	f.base, f.doubt = f.size, nil
	for n < len(lines) && err == nil {
		part := f.fit(lines[n:])
		if err := f.astray; err != nil {
			f.astray, f.looked = nil, time.Time{}
			return n, err // all that was written is in the old file, which is on disk
		}
		m := 0
		m, err = f.append(part)
		n += m
	}
	n, err = f.secure(n, err)
	if f.torn >= 0 {
		_ = f.cutBack() // else before the next write
	}
	return n, err
}

// checkRoom says whether n bytes may be written without taking from others what MinFree leaves them. The disk is asked once a
// second, as others write to it too, and when our own share is used up.
func (f *File) checkRoom(n int) error {
	if f.opt.MinFree == 0 {
		return nil
	}
	if f.spare < int64(n) {
		free, err := f.f.room()
		if err != nil {
			return f.fail("look for room for", cause(err))
		}
		f.spare = free - f.opt.MinFree
		if f.spare < int64(n) {
			return f.fail("write", fmt.Errorf("%d bytes are free on its file system, too few for %d more with the %d that min_free leaves to others", free, n, f.opt.MinFree))
		}
	}
	f.spare -= int64(n)
	return nil
}

// Reopen makes opt what holds from now on: another file, if its path is another. When that cannot be opened nothing changes.
// A file that was moved or deleted is made anew, as it is within a second in any case.
func (f *File) Reopen(opt FileOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return f.fail("reopen", fs.ErrClosed)
	}
	f.looked = time.Time{}
	if err := f.settle(); err != nil {
		return err
	}
	if opt.Path == f.opt.Path {
		return f.change(opt)
	}
	next, err := OpenFile(opt)
	if err != nil {
		return err
	}
	f.keeper.stop()
	old, lock := f.f, f.lock
	f.letGo(old)
	f.opt, f.rotator, f.keeper, f.lock = opt, next.rotator, next.keeper, next.lock
	f.f, f.size, f.looked, f.pruned, f.failing = next.f, next.size, next.looked, next.pruned, false
	f.nameless, f.unsynced, f.spare = next.nameless, time.Time{}, 0
	_ = lock.release() // the new one holds
	return nil
}

// LowerMinFree makes least hold as MinFree at once, where more does, and a Write that found too little room can go on: Reopen is
// called when nobody writes any more, and so could never help those who wait. undo makes hold what did.
func (f *File) LowerMinFree(least int64) (undo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.opt.MinFree
	if least >= was {
		return func() {}
	}
	f.opt.MinFree, f.spare = least, 0
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.opt.MinFree, f.spare = was, 0
	}
}

// Follow makes the file anew when it was moved or deleted, as Write does within a second. When it returns without an error nothing
// more is written to the old one, and that is on disk unless Sync says never.
func (f *File) Follow() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return f.fail("reopen", fs.ErrClosed)
	}
	f.looked = time.Time{}
	return f.settle()
}

// change makes other options of the same file hold. On an error the old ones do.
func (f *File) change(opt FileOptions) error {
	was := f.opt.Sync
	f.opt.Sync = opt.Sync // what was written so far is to be as safe as opt has it
	err := f.sync()
	if err == nil {
		err = f.refit(opt)
	}
	if err != nil {
		f.opt.Sync = was
		return err
	}
	f.opt = opt
	f.prune()
	return nil
}

// refit makes the file one of opt's format and mode.
func (f *File) refit(opt FileOptions) error {
	if opt.Format != f.opt.Format && f.size > 0 {
		if err := f.rotateNow(); err != nil {
			return err
		}
	}
	if opt.Mode == f.opt.Mode {
		return nil
	}
	return f.fail("change mode of", cause(f.f.Chmod(opt.Mode)))
}

// Close has the file on disk, unless Sync says never, and closes it. Write fails afterwards. A second Close does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	f.keeper.stop()
	if f.timer != nil {
		f.timer.Stop()
	}
	err := errors.Join(f.sync(), f.f.Close(), f.lock.release())
	f.f = nil
	return err
}

// open makes f.f the file of that name.
func (f *File) open() error {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK // the last so that a FIFO cannot hold us up
	file, err := os.OpenFile(f.opt.Path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = f.create(flags)
	}
	if errors.Is(err, unix.ELOOP) {
		return f.fail("open", errors.New("is a symbolic link, want the file itself"))
	}
	if err != nil {
		return f.fail("open", cause(err))
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	var out handle
	if err == nil {
		out, err = f.opt.storage().hold(file)
	}
	if err != nil {
		_ = file.Close() // nothing was written
		return f.fail("open", cause(err))
	}
	f.f, f.size, f.base, f.looked = out, info.Size(), info.Size(), time.Now()
	f.nameless = true // it may be new, or made by a process that did not come to sync the directory
	return nil
}

// create makes the file and gives it its mode whatever the umask.
func (f *File) create(flags int) (*os.File, error) {
	file, err := os.OpenFile(f.opt.Path, flags|os.O_CREATE, f.opt.Mode)
	if err != nil {
		return nil, err
	}
	if err := file.Chmod(f.opt.Mode); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// settle cuts off what a failed write left, and follows the name when the file was moved or deleted: at most once a second,
// as that is a system call.
func (f *File) settle() error {
	if f.torn >= 0 {
		if err := f.cutBack(); err != nil {
			return err
		}
	}
	if f.unfit {
		if err := f.adopt(); err != nil {
			return err
		}
	}
	if now := time.Now(); now.Sub(f.looked) >= time.Second || now.Before(f.looked) {
		f.looked, f.spare = now, 0
		if now.Sub(f.pruned) >= pruneInterval {
			f.prune()
		}
		return f.follow()
	}
	return nil
}

// cutBack cuts off what a failed write left, unless somebody has cut off more meanwhile, to make room: then Truncate would
// make the file longer again, by zeros.
func (f *File) cutBack() error {
	info, err := f.f.Stat()
	if err != nil {
		return f.fail("stat", cause(err))
	}
	if info.Size() > f.torn {
		if err := f.f.Truncate(f.torn); err != nil {
			return f.fail("truncate", cause(err))
		}
	}
	f.size, f.unfit = min(info.Size(), f.torn), info.Size() < f.torn
	f.torn = -1
	return nil
}

// follow reopens the file unless its name still stands for our descriptor, and takes over its size, which an outside
// copytruncate may have changed.
func (f *File) follow() error {
	ours, err := f.f.Stat()
	if err != nil {
		return f.fail("stat", cause(err))
	}
	if names(f.opt.Path, f.f) {
		shorter := ours.Size() < f.size
		f.size = ours.Size()
		if shorter {
			return f.adopt() // whoever cut it need not have cut between lines
		}
		return nil
	}
	// The directory was there when the file was opened: whoever removed it since wants it empty, not gone.
	err = os.MkdirAll(filepath.Dir(f.opt.Path), 0o750)
	if err == nil {
		err = f.lock.renew()
	}
	old := f.f
	if err = f.fail("open", cause(err)); err == nil {
		err = f.open()
	}
	if err != nil {
		f.looked = time.Time{} // again at the next write: nothing more goes into a file that has no name
		return err
	}
	f.letGo(old)
	return f.adopt()
}

// append writes lines. What a failed write leaves of a line is cut off, at once or before the next write.
func (f *File) append(lines []byte) (int, error) {
	n, err := f.f.Write(lines)
	if err == nil {
		f.size += int64(n)
		return n, nil
	}
	good := bytes.LastIndexByte(lines[:n], '\n') + 1
	if n > good {
		// Where the file ends is asked, not reckoned: an outside copytruncate may have moved it.
		info, serr := f.f.Stat()
		if serr != nil {
			f.torn = f.size // cutBack asks again
			return 0, f.fail("stat", cause(serr))
		}
		f.torn = info.Size() - int64(n-good)
	}
	f.size += int64(good)
	return good, f.fail("write", cause(err))
}

// fail names the operation and the file; nil stays nil.
func (f *File) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s record file %q: %w", op, f.opt.Path, err)
}

// cause takes the operation and the path off an error that fail is about to name again.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
