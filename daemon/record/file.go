package record

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
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
	// Format is that of the lines. A file that has lines of the other format is rotated before the first is written.
	Format Format
	// Trouble is called when something begins to fail that is no loss yet, with the error, and with nil when it works again.
	// It may be called with the File locked: it must not write to it. nil: nobody is told.
	Trouble func(Trouble, error)
}

// Trouble is what fails while lines are still written.
type Trouble int

const (
	// Rotation fails: the old file is written on, and grows.
	Rotation Trouble = iota
	// Retention fails: backups are not removed or compressed as they should be.
	Retention
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
	f       *os.File
	size    int64
	torn    int64     // where a write that failed half-way has to be cut off; -1: nowhere
	looked  time.Time // when the name was last compared with the descriptor
	pruned  time.Time // when the backups were last looked at
	rotated time.Time // when the last rotation was tried
	failing bool      // the last rotation failed
	unfit   bool      // somebody else's writing has not been made fit for ours yet
	astray  error     // why the descriptor is that of a file which was moved aside: nothing may be written to it
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
	f.prune()
	return nil
}

// adopt makes a file that somebody else has written fit for our lines.
func (f *File) adopt() error {
	f.unfit = f.size > 0
	if !f.unfit {
		return nil
	}
	in, err := os.Open(f.opt.Path)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			f.unfit = false
			return nil // a file that we may write and not read: nothing can be told of what is in it
		}
		return f.fail("read", cause(err))
	}
	defer in.Close()
	var first, last [1]byte
	if _, err := in.ReadAt(first[:], 0); err != nil {
		return f.fail("read", cause(err))
	}
	if _, err := in.ReadAt(last[:], f.size-1); err != nil {
		return f.fail("read", cause(err))
	}
	if last[0] != '\n' {
		if err := f.mend(in); err != nil {
			return err
		}
	}
	if f.size > 0 && (first[0] == '{') != (f.opt.Format == JSON) {
		if err := f.rotateNow(); err != nil {
			return err
		}
	}
	f.unfit = false
	return nil
}

// prune has the backups looked at.
func (f *File) prune() {
	f.pruned = time.Now()
	f.keeper.keep(rule{path: f.opt.Path, most: f.opt.MaxBackups, age: f.opt.MaxAge, compress: f.opt.Compress})
}

// tell tells whoever wants to know.
func (f *File) tell(what Trouble, err error) {
	if f.opt.Trouble != nil {
		f.opt.Trouble(what, err)
	}
}

// mend sees to it that nothing is glued to a last line that is not whole. The piece of a record is cut off: it would read as a
// record that says something else, and what it was of has not been acknowledged. What is no record is somebody else's, and kept.
func (f *File) mend(in *os.File) error {
	start, err := lastLine(in, f.size)
	if err != nil {
		return f.fail("read", cause(err))
	}
	head, piece := make([]byte, pieceSize), make([]byte, pieceSize)
	n, _ := in.ReadAt(head, 0) // a file that is shorter has less
	m, _ := in.ReadAt(piece, start)
	head, piece = head[:n], piece[:m]
	// Barcodes and other numbers are lines of other programs that are replaced by us, on the same file.
	if ours := isPiece(head) && (start > 0 || len(piece) >= len("2026-")); !ours || !isPiece(piece) {
		f.tell(TornLine, f.fail("open", errors.New("its last line, which is no record, was not whole and has been ended")))
		_, err := f.append([]byte("\n"))
		return err
	}
	f.tell(TornLine, f.fail("open", fmt.Errorf("its last record was not whole, after a crash or a full disk: %d bytes were cut off", f.size-start)))
	if err := f.f.Truncate(start); err != nil {
		return f.fail("truncate", cause(err))
	}
	f.size = start
	return nil
}

// pieceSize is how much of a line is looked at to tell a piece of a record.
const pieceSize = 40

// isPiece says whether b could be the beginning of a record, as far as it goes.
func isPiece(b []byte) bool {
	for _, form := range []string{`{"time":"0000-00-00T00:00:00.000000Z"`, "0000-00-00T00:00:00.000000Z from ", "0000-00-00T00:00:00.000000Z open from ", "0000-00-00T00:00:00.000000Z close from "} {
		n := min(len(b), len(form))
		shape := bytes.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return '0'
			}
			return r
		}, b[:n])
		if string(shape) == form[:n] {
			return true
		}
	}
	return false
}

// lastLine returns where the last line of a file of that size begins.
func lastLine(in *os.File, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		n, err := in.ReadAt(buf[:end-start], start)
		if int64(n) < end-start {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// Path is the file's name.
func (f *File) Path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opt.Path
}

// Write appends lines. It returns how many bytes are in the file for good: with an error, that is where the last line ends
// that was written whole, and what is behind it has to be written again.
func (f *File) Write(lines []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return 0, f.fail("write", fs.ErrClosed)
	}
	if err := f.settle(); err != nil {
		return 0, err
	}
	for n < len(lines) {
		part := f.fit(lines[n:])
		if err := f.astray; err != nil {
			f.astray, f.looked = nil, time.Time{}
			return n, err
		}
		m, err := f.append(part)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
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
	f.opt, f.rotator, f.keeper, f.lock = opt, next.rotator, next.keeper, next.lock
	f.f, f.size, f.looked, f.pruned, f.failing = next.f, next.size, next.looked, next.pruned, false
	_, _ = old.Close(), lock.release() // what was written to the old file is written, and the new one holds
	return nil
}

// change makes other options of the same file hold. What can fail comes first.
func (f *File) change(opt FileOptions) error {
	if opt.Mode != f.opt.Mode {
		if err := f.f.Chmod(opt.Mode); err != nil {
			return f.fail("change mode of", cause(err))
		}
	}
	if opt.Format != f.opt.Format && f.size > 0 {
		if err := f.rotateNow(); err != nil {
			return err
		}
	}
	f.opt = opt
	f.prune()
	return nil
}

// Rotate moves the file aside now and begins a new one; an empty file stays.
func (f *File) Rotate() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return f.fail("rotate", fs.ErrClosed)
	}
	if err := f.settle(); err != nil || f.size == 0 {
		return err
	}
	return f.rotateNow()
}

// Close closes the file. Write fails afterwards. A second Close does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	f.keeper.stop()
	err := errors.Join(f.f.Close(), f.lock.release())
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
	if err != nil {
		_ = file.Close() // nothing was written
		return f.fail("open", cause(err))
	}
	f.f, f.size, f.looked = file, info.Size(), time.Now()
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
		f.looked = now
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
	_ = old.Close() // what was written to it is written
	return f.adopt()
}

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

// rotate makes room by a new file. When it cannot, the old one is written on, and rotating is tried again a second later.
func (f *File) rotate() bool {
	if f.failing && time.Since(f.rotated) < time.Second {
		return false
	}
	err := f.rotateNow()
	if f.failing != (err != nil) {
		f.failing = err != nil
		f.tell(Rotation, err)
	}
	return err == nil
}

// rotateNow moves the file aside and opens a new one.
func (f *File) rotateNow() error {
	// Backups are named to the millisecond: two in one, or in one that comes again as the clock was set back, would overwrite
	// the first.
	for time.Since(f.rotated) < 2*time.Millisecond || f.named() {
		time.Sleep(time.Millisecond)
	}
	err := f.rotator.Rotate()
	f.rotated = time.Now()
	_ = f.rotator.Close() // its descriptor of the new file, to which it has written nothing: it lacks O_APPEND
	if err != nil && names(f.opt.Path, f.f) {
		return f.fail("rotate", err)
	}
	old := f.f
	if err := f.open(); err != nil {
		f.astray = err
		return err
	}
	f.prune()
	_ = f.f.Chmod(f.opt.Mode) // lumberjack made it, under the umask; it is ours, so this works
	_ = old.Close()           // what was written to it is written
	return nil
}

// named says whether there is a backup with the name of this moment or of one right after it.
func (f *File) named() bool {
	ext := filepath.Ext(f.opt.Path)
	for soon := range 4 {
		at := time.Now().Add(time.Duration(soon) * time.Millisecond).UTC().Format(stampForm)
		name := strings.TrimSuffix(f.opt.Path, ext) + "-" + at + ext
		for _, name := range []string{name, name + packedSuffix} {
			if _, err := os.Lstat(name); err == nil {
				return true
			}
		}
	}
	return false
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
