package recordfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// disk is what File needs of the file system. In tests it is one that fails, is slow, or loses
// power.
type disk interface {
	// open opens or creates a file.
	open(path string, flags int, mode fs.FileMode) (*os.File, error)
	// rename renames a file. It replaces a file that has the new name.
	rename(from, to string) error
	// move renames a file. It fails if another file has the new name.
	move(from, to string) error
	// rotate renames the file of a rotator to a backup with the current time.
	rotate(*lumberjack.Logger) error
	// hold takes over a file that was opened.
	hold(*os.File) (handle, error)
	// syncDir writes the names in a directory to disk.
	syncDir(name string) error
}

// handle is an open record file: methods of *os.File, and two more.
type handle interface {
	Write([]byte) (int, error)
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Chmod(fs.FileMode) error
	Close() error
	// datasync is fdatasync(2). It may be called from any goroutine. After Close it returns
	// os.ErrClosed.
	datasync() error
	// room returns how many bytes of the file system are free for unprivileged users.
	room() (int64, error)
}

// kernel is the real disk.
type kernel struct{}

func (kernel) open(path string, flags int, mode fs.FileMode) (*os.File, error) {
	return os.OpenFile(path, flags, mode)
}

func (kernel) rename(from, to string) error { return os.Rename(from, to) }

func (kernel) move(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	// Some file systems and kernels do not support RENAME_NOREPLACE.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if _, err := os.Lstat(to); err == nil {
			return unix.EEXIST
		}
		return os.Rename(from, to)
	}
	return err
}

// rotate removes the new file that lumberjack creates, which has neither O_APPEND nor our mode.
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

// openFile is a file whose descriptor stays open during a sync, even if the file is closed
// meanwhile.
type openFile struct {
	*os.File
	raw syscall.RawConn
	fd  int // for Write
}

func (f *openFile) datasync() error {
	return f.control(func(fd int) error { return unix.Fdatasync(fd) })
}

func (f *openFile) room() (free int64, err error) {
	var st unix.Statfs_t
	err = f.control(func(fd int) error { return unix.Fstatfs(fd, &st) })
	return int64(st.Bavail) * int64(st.Frsize), err // Frsize has 32 bits on some machines
}

// control calls a system call with the descriptor, and repeats it if a signal interrupts it.
func (f *openFile) control(call func(fd int) error) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		if cerr := f.raw.Control(func(fd uintptr) { err = call(int(fd)) }); cerr != nil {
			return os.ErrClosed // it is no other, but package os does not say so
		}
	}
	return err
}
