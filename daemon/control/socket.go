package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// socketGroup is the group that may read logs.
	socketGroup = "adm"
	// ownerOnly and withGroup are the modes of a control socket.
	ownerOnly, withGroup = 0o600, 0o660
	socketBacklog        = 128
)

// Socket is a control socket that Listen has made.
type Socket struct {
	// File is the socket, which listens.
	File *os.File
	path string
	id   fileID
}

// fileID tells a file from another at the same path.
type fileID struct{ dev, ino uint64 }

// Listen makes a control socket at path, which nobody but the owner and group adm can connect to at
// any moment; where the daemon may not give it that group, nobody but the owner. A socket that is
// there is replaced if nobody listens on it. Anything else is an error, and stays.
func Listen(path string) (*Socket, error) { return listenFor(path, socketGroup) }

// listenFor is Listen for another group.
func listenFor(path, group string) (*Socket, error) {
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &Socket{File: os.NewFile(uintptr(fd), "tcpmux-control"), path: path}
	// The file gets the mode of the socket, so that it never has a wider one.
	err = os.NewSyscallError("fchmod", unix.Fchmod(fd, ownerOnly))
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	}
	if err != nil {
		_ = s.File.Close() // nothing was written
		return nil, err
	}
	if err = os.NewSyscallError("listen", unix.Listen(fd, socketBacklog)); err == nil {
		s.id, err = share(path, group)
	}
	if err != nil {
		_ = s.File.Close() // nothing was written
		_ = os.Remove(path)
		return nil, err
	}
	return s, nil
}

// lockDirectory keeps other daemons from making a socket in a directory: two that find the same
// stale one would each remove that of the other.
func lockDirectory(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.Close() // nothing was written
		return nil, fmt.Errorf("lock directory %q: %w", dir, err)
	}
	return func() { _ = d.Close() }, nil
}

// removeStale removes a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%q exists and is no socket: remove it, or name another path", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd) // nothing was written
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err {
	case unix.ECONNREFUSED:
		return os.Remove(path)
	case nil, unix.EAGAIN:
		return fmt.Errorf("another process listens on %q", path)
	default:
		return fmt.Errorf("%q exists: %w", path, os.NewSyscallError("connect", err))
	}
}

// share lets a group use a socket, if it can be given the group, and returns which file it is.
func share(path, group string) (id fileID, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return id, os.NewSyscallError("open", err)
	}
	defer unix.Close(fd) // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return id, os.NewSyscallError("fstat", err)
	}
	id = fileID{uint64(st.Dev), st.Ino}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int64(st.Uid) != int64(os.Geteuid()) {
		return id, fmt.Errorf("%q was replaced by something else", path)
	}
	gid, err := groupID(group)
	if err != nil {
		return id, nil // there is no such group: the owner alone
	}
	if unix.Fchownat(fd, "", -1, gid, unix.AT_EMPTY_PATH) != nil {
		return id, nil // the daemon is no member
	}
	// fchmod(2) takes no descriptor of O_PATH.
	return id, os.Chmod("/proc/self/fd/"+strconv.Itoa(fd), withGroup)
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// Adopt returns a Socket for one that Listen of the program before has made, if file is the socket
// at path.
func Adopt(file *os.File, path string) (*Socket, bool) {
	if path == "" || PathOf(file) != path {
		return nil, false
	}
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return nil, false
	}
	return &Socket{File: file, path: path, id: fileID{uint64(st.Dev), st.Ino}}, true
}

// PathOf returns the path of a unix socket, and "" for what is none.
func PathOf(file *os.File) (path string) {
	raw, err := file.SyscallConn()
	if err != nil {
		return ""
	}
	_ = raw.Control(func(fd uintptr) { // an error leaves the path empty
		sa, err := unix.Getsockname(int(fd))
		if u, ok := sa.(*unix.SockaddrUnix); ok && err == nil {
			path = u.Name
		}
	})
	return path
}

// Remove removes the file of the socket, if it is still that. It is called before File is closed:
// only as long is no other file given the same number. A nil Socket has none.
func (s *Socket) Remove() error {
	if s == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(s.path, &st); err != nil || (fileID{uint64(st.Dev), st.Ino}) != s.id {
		return nil // somebody else's
	}
	return os.Remove(s.path)
}
