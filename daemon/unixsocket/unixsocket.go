// Package unixsocket makes listening unix sockets, and removes their files. It promises that nobody
// can connect to one before its file has its mode and its group, and that no file is removed but a
// socket on which nobody listens, or that this or the previous program has made.
package unixsocket

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what Listen makes.
type Options struct {
	// Path is that of the socket's file, of at most 107 bytes (unix(7)).
	Path string
	// Mode is the permission bits of the file. Whoever may write to it can connect.
	Mode uint32
	// Group is the name of the file's group; "" is that of the process.
	Group string
	// Lenient has a socket that cannot be given the Group be its owner's alone. Without it,
	// that is an error.
	Lenient bool
	// Backlog is that of listen(2).
	Backlog int
}

// ownerOnly is the mode of a file until its group is known.
const ownerOnly = 0o600

// Socket is a socket that Listen has made.
type Socket struct {
	// File is the socket, which listens and does not block.
	File *os.File
	path string
	id   fileID
}

// fileID tells a file from another at the same path.
type fileID struct{ dev, ino uint64 }

// Listen makes a socket. One that is there is replaced if nobody listens on it. Anything else is an
// error, and stays.
func Listen(o Options) (*Socket, error) {
	gid, err := o.groupID()
	if err != nil {
		return nil, err
	}
	unlock, err := lockDirectory(filepath.Dir(o.Path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(o.Path); err != nil {
		return nil, err
	}
	s, fd, err := bind(o.Path)
	if err != nil {
		return nil, err
	}
	if err := s.begin(fd, o, gid); err != nil {
		return nil, err
	}
	return s, nil
}

// begin lets others connect to the socket, whose descriptor is fd. After an error it is closed.
func (s *Socket) begin(fd int, o Options, gid int) (err error) {
	if s.id, err = o.share(gid); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, o.Backlog))
	}
	if err != nil {
		_ = s.Remove()     // what stays is replaced by the next who listens
		_ = s.File.Close() // nothing was written
	}
	return err
}

// bind returns a socket that does not listen yet, and whose file is its owner's alone; and its
// descriptor.
func bind(path string) (s *Socket, fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, os.NewSyscallError("socket", err)
	}
	s = &Socket{File: os.NewFile(uintptr(fd), path), path: path}
	// The file gets the mode of the socket, so that it never has a wider one.
	err = os.NewSyscallError("fchmod", unix.Fchmod(fd, ownerOnly))
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	}
	if err != nil {
		_ = s.File.Close() // nothing was written
		return nil, -1, err
	}
	return s, fd, nil
}

// keepGroup leaves the group of a file as it is (chown(2)).
const keepGroup = -1

// ErrNoGroup is that Options name a group which does not exist.
var ErrNoGroup = errors.New("there is none of that name; groupadd creates one")

// groupID returns the number of the group.
func (o Options) groupID() (gid int, err error) {
	if o.Group == "" {
		return keepGroup, nil
	}
	g, err := user.LookupGroup(o.Group)
	if _, unknown := errors.AsType[user.UnknownGroupError](err); unknown {
		err = ErrNoGroup
	}
	if err == nil {
		gid, err = strconv.Atoi(g.Gid)
	}
	if err != nil && !o.Lenient {
		return 0, fmt.Errorf("group %q: %w", o.Group, err)
	}
	if err != nil {
		return ownersAlone, nil
	}
	return gid, nil
}

// ownersAlone is for a socket that no group has.
const ownersAlone = -2

// lockPatience is how long another daemon may keep the lock of a directory, which takes it a
// moment. Whoever may read the directory can hold it for ever: after that time it does not count.
var lockPatience = time.Second

// lockDirectory keeps other daemons from making a socket in a directory: two that find the same
// stale one would each remove that of the other. Without a lock, unlock does nothing.
func lockDirectory(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockPatience); time.Now().Before(end); time.Sleep(lockPatience / 100) {
		if unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			break
		}
	}
	return func() { _ = d.Close() }, nil
}

// share gives the file of a socket its group and its mode, and returns which file it is; the zero
// value is that it is not known.
func (o Options) share(gid int) (id fileID, err error) {
	fd, err := unix.Open(o.Path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return id, os.NewSyscallError("open", err)
	}
	defer unix.Close(fd) // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return id, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int64(st.Uid) != int64(os.Geteuid()) {
		return id, fmt.Errorf("%q was replaced by something else", o.Path)
	}
	id = fileID{uint64(st.Dev), st.Ino}
	if gid == ownersAlone {
		return id, nil
	}
	if gid != keepGroup {
		err := unix.Fchownat(fd, "", -1, gid, unix.AT_EMPTY_PATH)
		if err != nil && o.Lenient { // the daemon is no member
			return id, nil
		}
		if err != nil {
			return id, fmt.Errorf("give %q to group %q, of which only root and its members can be: %w", o.Path, o.Group, os.NewSyscallError("chown", err))
		}
	}
	// fchmod(2) takes no descriptor of O_PATH.
	return id, os.Chmod("/proc/self/fd/"+strconv.Itoa(fd), os.FileMode(o.Mode))
}

// Adopt returns a Socket for one that Listen of the program before has made and that was InPlace,
// if file is the socket at path.
func Adopt(file *os.File, path string) (*Socket, bool) {
	if path == "" || PathOf(file) != path {
		return nil, false
	}
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
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

// Path returns the path of the socket's file.
func (s *Socket) Path() string { return s.path }

// InPlace reports whether the file at the path is still that of the socket. It is asked before File
// is closed: only as long is no other file given the same number. A nil Socket has none.
func (s *Socket) InPlace() bool {
	if s == nil {
		return false
	}
	var st unix.Stat_t
	return unix.Lstat(s.path, &st) == nil && fileID{uint64(st.Dev), st.Ino} == s.id
}

// Remove removes the file of the socket, if it is InPlace: nobody can connect any more. It too is
// called before File is closed.
func (s *Socket) Remove() error {
	if !s.InPlace() {
		return nil // somebody else's
	}
	return os.Remove(s.path)
}
