package record

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// File appends lines to a file and rotates it. Methods may be called from any goroutine. No other process, and no other File,
// may have the file open at the same time: a lock beside it sees to that.
//
// The bytes go through a descriptor of our own, opened with O_APPEND, so that a write that failed half-way can be cut back and
// a file that was truncated, moved or deleted from outside is noticed. lumberjack names it when it is rotated.
type File struct {
	mu      sync.Mutex
	opt     FileOptions
	rotator *lumberjack.Logger
	keeper  *keeper
	syncer  syncer
	lock    *lock
	journal *Journal // of what is written; nil: there is none
	f       handle   // nil: it is closed
	device  int64    // f's
	inode   int64
	size    int64
	base    int64     // up to here the file is none of this Write's affair
	doubt   error     // the sync in this Write that failed
	owed    bool      // what the process before has written may not be on disk
	torn    int64     // where a write that failed half-way has to be cut off; -1: nowhere
	looked  time.Time // when the name was last compared with the descriptor
	rotated time.Time // when the last rotation was tried
	failing bool      // the last rotation failed
	unfit   bool      // somebody else's writing has not been made fit for ours yet
	astray  error     // why the descriptor is that of a file which was moved aside: nothing may be written to it
	spare   int64     // bytes that may be written until the room on the disk is looked at again
}

// OpenFile opens the file for appending, or makes it. A symbolic link or anything but a regular file is refused: who may
// write the directory could otherwise have the daemon write elsewhere. So is a file that somebody else writes.
func OpenFile(opt FileOptions) (*File, error) {
	f := &File{opt: opt, torn: -1}
	f.syncer.opt, f.syncer.due = &f.opt, f.syncDue
	var err error
	if f.lock, err = lockBeside(opt.Path); err != nil {
		return nil, f.opt.fail("open", cause(err))
	}
	f.keeper = newKeeper(opt.tell)
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
	_ = os.Remove(f.nextPath()) // of a process that was killed while it rotated; it is empty
	if err := f.open(); err != nil {
		return err
	}
	if err := f.adopt(); err != nil {
		f.keeper.stop()
		return errors.Join(err, f.f.Close())
	}
	if f.opt.Sync != SyncNever {
		f.owed = f.size > 0
		_ = f.syncer.syncName() // it is owed then, and tried again with the first sync
	}
	f.keeper.keep(f.opt.rule())
	return nil
}

// keepIn has what is written noted in a journal.
func (f *File) keepIn(j *Journal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.journal = j
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
		return 0, f.opt.fail("write", fs.ErrClosed)
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
			return n, err // all that was written is in the old file, which is on disk
		}
		m := 0
		f.journal.mark(f.device, f.inode, f.size)
		m, err = f.append(part)
		f.journal.wrote(m)
		n += m
		if err != nil && f.rotateFull(err) {
			err = nil
		}
	}
	n, err = f.secure(n, err)
	if f.torn >= 0 {
		_ = f.cutBack() // else before the next write
	}
	return n, err
}

// Reopen makes opt what holds from now on: another file, if its path is another. When that cannot be opened nothing changes.
// A file that was moved or deleted is made anew, as it is within a second in any case.
func (f *File) Reopen(opt FileOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return f.opt.fail("reopen", fs.ErrClosed)
	}
	f.looked = time.Time{}
	err := f.settle()
	if opt.Path == f.opt.Path {
		if err != nil {
			return err
		}
		return f.change(opt)
	}
	// What is wrong with the old file is no reason to keep it.
	next, err := OpenFile(opt)
	if err != nil {
		return err
	}
	f.keeper.stop()
	old, lock := f.f, f.lock
	f.syncer.letGo(old)
	f.opt, f.rotator, f.keeper, f.lock = opt, next.rotator, next.keeper, next.lock
	if f.failing {
		opt.tell(Rotation, nil) // of the old file, which is ours no more
	}
	f.f, f.size, f.looked, f.failing = next.f, next.size, next.looked, false
	f.torn, f.unfit, f.astray = -1, false, nil
	f.device, f.inode = next.device, next.inode
	f.syncer.nameless, f.syncer.unsynced, f.spare = next.syncer.nameless, time.Time{}, 0
	_ = lock.release() // the new one holds
	return nil
}

// Follow makes the file anew when it was moved or deleted, as Write does within a second. When it returns without an error nothing
// more is written to the old one, and that is on disk unless Sync says never.
func (f *File) Follow() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return f.opt.fail("reopen", fs.ErrClosed)
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
	f.keeper.keep(f.opt.rule())
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
	return f.opt.fail("change mode of", cause(f.f.Chmod(opt.Mode)))
}

// Close has the file on disk, unless Sync says never, and closes it. Write fails afterwards. A second Close does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	f.keeper.stop()
	f.syncer.stop()
	err := errors.Join(f.sync(), f.f.Close(), f.lock.release())
	f.f = nil
	return err
}

// openFlags are those of a file for our lines, the last one so that a FIFO cannot hold us up.
const openFlags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK

// open makes f.f the file of that name.
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

// held is an open file as the disk has it. One that is not fit for lines is closed.
func (o *FileOptions) held(file *os.File) (out handle, info fs.FileInfo, err error) {
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

// use makes f.f an open file.
func (f *File) use(out handle, info fs.FileInfo) {
	f.f, f.size, f.base, f.looked = out, info.Size(), info.Size(), time.Now()
	f.torn, f.unfit, f.astray = -1, f.size > 0, nil
	f.device, f.inode = identity(info, nil)
	f.syncer.nameless = true // it may be new, or made by a process that did not come to sync the directory
}

// create makes a file and gives it its mode whatever the umask.
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

// append writes lines. What a failed write leaves of a line is cut off, at once or before the next write.
func (f *File) append(lines []byte) (int, error) {
	n, err := f.f.Write(lines)
	if err != nil {
		return f.failed(lines[:n], err)
	}
	f.size += int64(n)
	return n, nil
}

// failed sees to what of the lines was written when a write failed.
func (f *File) failed(written []byte, err error) (int, error) {
	n, good := len(written), bytes.LastIndexByte(written, '\n')+1
	if n > good {
		// Where the file ends is asked, not reckoned: an outside copytruncate may have moved it.
		info, serr := f.f.Stat()
		if serr != nil {
			f.torn = f.size // cutBack asks again
			return 0, f.opt.fail("stat", cause(serr))
		}
		f.torn = info.Size() - int64(n-good)
	}
	f.size += int64(good)
	return good, f.opt.fail("write", cause(err))
}
