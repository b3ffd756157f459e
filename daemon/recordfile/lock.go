package recordfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lock is an flock(2) on a file next to a record file. It is held while the record file is ours,
// because two writers would overwrite and rotate away each other's lines. Only the owner may open
// the lock file, because every user that can open it can lock it.
type lock struct {
	path string
	file *os.File
}

// LockError reports that the lock next to a record file cannot be taken. Its text ends with the
// next step.
type LockError struct {
	// Path is the path of the lock file.
	Path string
	// Err is the cause.
	Err error
}

// Error returns the lock file and the cause.
func (e *LockError) Error() string { return fmt.Sprintf("lock file %q: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *LockError) Unwrap() error { return e.Err }

// heldError reports a lock that another process holds.
type heldError struct{ error }

// Unwrap returns the cause.
func (e heldError) Unwrap() error { return e.error }

// lockBeside takes the lock for the file at path.
func lockBeside(path string) (*lock, error) {
	l := &lock{path: hidden(path, ".lock")}
	return l, l.take()
}

// hidden returns the path of a hidden file that belongs to the file at path.
func hidden(path, suffix string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+suffix)
}

// If a daemon is killed while it starts a process, that process has its locks until it executes its
// program.
const (
	leftFor   = 10 * time.Second
	leftRetry = 5 * time.Millisecond
)

// take takes the lock. It tries again if the previous holder has removed the file meanwhile, or has
// died and left the lock for a moment.
func (l *lock) take() error {
	for began := time.Now(); ; {
		f, err := l.open()
		if err != nil {
			return err
		}
		ours, left, err := l.hold(f)
		if ours {
			return nil
		}
		_ = f.Close() // nothing was written
		switch {
		case left && time.Since(began) < leftFor:
			time.Sleep(leftRetry)
		case err != nil:
			return err
		}
	}
}

// hold locks the open lock file. ours is false if the previous holder has removed the file
// meanwhile, so that others lock another file; and, with an error, if the file is locked. left
// reports whether the process that locked it has died.
func (l *lock) hold(f *os.File) (ours, left bool, err error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, l.isLeft(f), heldError{l.inUse(f)}
		}
		return false, false, err
	}
	if !names(l.path, f) {
		return false, false, nil
	}
	// The pid only serves messages: without it, such as on a full disk, the lock is held too.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	l.file = f
	return true, false, nil
}

// open opens or creates the lock file, and removes the permission of others to open it.
func (l *lock) open() (*os.File, error) {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, l.denied(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file: remove it")
	}
	if err != nil {
		return nil, errors.Join(&LockError{l.path, cause(err)}, f.Close())
	}
	if info.Mode().Perm() != 0o600 {
		_ = f.Chmod(0o600) // it fails on a file system without permissions
	}
	return f, nil
}

// denied returns a LockError if the lock file, and not its directory, is the problem.
func (l *lock) denied(err error) error {
	info, serr := os.Lstat(l.path)
	switch {
	case serr != nil && (errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist)),
		errors.Is(err, unix.EROFS):
		return err
	case serr == nil && errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w, as it belongs to user %d and not to %d: "+
			"end what that user has writing the record file, then remove the lock file",
			cause(err), info.Sys().(*syscall.Stat_t).Uid, os.Geteuid())
	case errors.Is(err, unix.ELOOP):
		err = errors.New("is a symbolic link: remove it")
	}
	return &LockError{l.path, cause(err)}
}

// writer returns the pid in the lock file; 0 if it has none.
func writer(f *os.File) int {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0) // on an error the pid is unknown
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// isLeft reports whether the lock was taken by a process that has died.
func (l *lock) isLeft(f *os.File) bool {
	pid, holders := writer(f), flockers(f)
	return pid > 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH) && (len(holders) == 0 || slices.Contains(holders, pid))
}

// inUse returns an error that names the holder of the lock.
func (l *lock) inUse(f *os.File) error {
	writer := writer(f)
	holders := flockers(f)
	if len(holders) == 0 && writer > 0 && !errors.Is(unix.Kill(writer, 0), unix.ESRCH) {
		holders = []int{writer} // /proc/locks is hidden (proc(5), subset=pid)
	}
	switch {
	case slices.Contains(holders, os.Getpid()):
		return errors.New("is in use already, by this process: a log and records never share a file")
	case slices.Contains(holders, writer):
		return fmt.Errorf("is in use by process %d: two that write would overwrite each other's lines", writer)
	case len(holders) > 0:
		return &LockError{l.path, fmt.Errorf("is locked by process %d, "+
			"which does not write the record file: end that process", holders[0])}
	}
	return &LockError{l.path, errors.New("is locked by a process that does not write the record file: " +
		"end it (root finds it with fuser -v)")}
}

// flockers returns the processes that hold an flock on the file, as far as the kernel shows them
// (proc_locks(5)).
func flockers(f *os.File) (pids []int) {
	var st unix.Stat_t
	text, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return nil
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	// 1: FLOCK  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF.
	for line := range strings.Lines(string(text)) {
		if w := strings.Fields(line); len(w) > 5 && w[1] == "FLOCK" && w[5] == inode {
			if pid, err := strconv.Atoi(w[4]); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// renew takes the lock again if its file was deleted or moved.
func (l *lock) renew() error {
	if names(l.path, l.file) {
		return nil
	}
	old := l.file
	if err := l.take(); err != nil {
		return err
	}
	return old.Close()
}

// release releases the lock and removes its file.
func (l *lock) release() error {
	if l == nil || l.file == nil {
		return nil
	}
	if names(l.path, l.file) {
		_ = os.Remove(l.path) // while it is held; a file that remains does no harm
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// sameFile reports whether two open files are the same file.
func sameFile(f, g interface{ Stat() (fs.FileInfo, error) }) bool {
	one, err := f.Stat()
	other, err2 := g.Stat()
	return err == nil && err2 == nil && os.SameFile(one, other)
}

// names reports whether path is a name of the open file.
func names(path string, f interface{ Stat() (fs.FileInfo, error) }) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, named)
}
