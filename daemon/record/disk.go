package record

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// disk is what File needs of the file system. Tests put one in its place that fails, is slow or loses power.
type disk interface {
	// open opens or makes a file.
	open(path string, flags int, mode fs.FileMode) (*os.File, error)
	// rename gives a file another name, which another file may have had.
	rename(from, to string) error
	// move is rename where no file may lose its name.
	move(from, to string) error
	// rotate gives the file of a rotator the name of a backup, that of the moment.
	rotate(*lumberjack.Logger) error
	// hold takes over a file that was opened.
	hold(*os.File) (handle, error)
	// syncDir has the names in a directory on disk.
	syncDir(name string) error
}

// handle is an open record file: *os.File's methods, and two more.
type handle interface {
	Write([]byte) (int, error)
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Chmod(fs.FileMode) error
	Close() error
	// datasync is fdatasync(2). It may be called from any goroutine.
	datasync() error
	// room is how many bytes are free for everybody on the file system.
	room() (int64, error)
}

// kernel is the disk that there is.
type kernel struct{}

func (kernel) open(path string, flags int, mode fs.FileMode) (*os.File, error) {
	return os.OpenFile(path, flags, mode)
}

func (kernel) rename(from, to string) error { return os.Rename(from, to) }

func (kernel) move(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system or kernel that cannot do that
		if _, err := os.Lstat(to); err == nil {
			return unix.EEXIST
		}
		return os.Rename(from, to)
	}
	return err
}

// rotate leaves no file of the old name: lumberjack makes one, but with neither O_APPEND nor our mode.
func (kernel) rotate(l *lumberjack.Logger) error {
	err := errors.Join(l.Rotate(), l.Close())
	if info, serr := os.Lstat(l.Filename); serr == nil && info.Size() == 0 {
		err = errors.Join(err, os.Remove(l.Filename))
	}
	return err
}

func (kernel) hold(f *os.File) (handle, error) {
	raw, err := f.SyscallConn()
	return &openFile{f, raw, int(f.Fd())}, err
}

func (kernel) syncDir(name string) error { return syncDir(name) }

// openFile is a file with a descriptor that stays open while it is synced, whoever closes it meanwhile.
type openFile struct {
	*os.File
	raw syscall.RawConn
	fd  int // for Write
}

// Write is write(2), as often as it takes. A record file is in no poller, and is not closed while it is written: without the care that
// os.File takes of that, the stack of whoever writes, which may be an idle client's ever after, stays small.
func (f *openFile) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Write(f.fd, b[n:])
		n += max(m, 0)
		switch {
		case err != nil && err != unix.EINTR:
			return n, err
		case m == 0:
			return n, io.ErrUnexpectedEOF
		}
	}
	return n, nil
}

func (f *openFile) datasync() error {
	return f.control(func(fd int) error { return unix.Fdatasync(fd) })
}

func (f *openFile) room() (free int64, err error) {
	var st unix.Statfs_t
	err = f.control(func(fd int) error { return unix.Fstatfs(fd, &st) })
	return int64(st.Bavail) * int64(st.Frsize), err // Frsize has 32 bits on some machines
}

// control calls a system call with the descriptor, again when a signal came between.
func (f *openFile) control(call func(fd int) error) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		if cerr := f.raw.Control(func(fd uintptr) { err = call(int(fd)) }); cerr != nil {
			return cerr
		}
	}
	return err
}
