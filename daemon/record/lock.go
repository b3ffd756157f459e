package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lock is an flock(2) beside a file, held for as long as the file is ours: two writers would overwrite and rotate away each
// other's lines. It names its holder.
type lock struct {
	path string
	file *os.File
}

// lockBeside takes the lock for the file at path.
func lockBeside(path string) (*lock, error) {
	l := &lock{path: filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")}
	return l, l.take()
}

// take takes the lock. It starts over when the holder before us has removed the file under our hands.
func (l *lock) take() error {
	for {
		f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = inUse(f)
			}
			return errors.Join(err, f.Close())
		}
		if !names(l.path, f) {
			_ = f.Close() // it was nobody's any more
			continue
		}
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err := errors.Join(err, f.Truncate(int64(len(strconv.Itoa(os.Getpid()))+1))); err != nil {
			return errors.Join(err, f.Close())
		}
		l.file = f
		return nil
	}
}

// inUse is the error that names the holder.
func inUse(f *os.File) error {
	b, _ := io.ReadAll(io.LimitReader(f, 32)) // without it the holder has no name
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return errors.New("is in use by another process")
	}
	if pid == os.Getpid() {
		return errors.New("is in use already, by this process: a log and records never share a file")
	}
	return fmt.Errorf("is in use by process %d: two that write would overwrite each other's lines", pid)
}

// renew takes the lock anew when its file was deleted or moved.
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

// release gives the lock up and leaves nothing behind.
func (l *lock) release() error {
	if l.file == nil {
		return nil
	}
	if names(l.path, l.file) {
		_ = os.Remove(l.path) // while it is held; one that stays behind harms nobody
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// names says whether path stands for the open file.
func names(path string, f interface{ Stat() (fs.FileInfo, error) }) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, named)
}
