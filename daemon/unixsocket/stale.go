package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// removeStale removes a socket that no process has.
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
	used, err := InUse(path)
	switch {
	case err != nil:
		return fmt.Errorf("%q exists: %w", path, err)
	case used:
		return fmt.Errorf("another process listens on %q", path)
	}
	return os.Remove(path)
}

// InUse reports whether a process has the socket whose file is at path, which has to exist. Who
// listens there does not notice: a socket of another kind is refused before anybody is asked, but
// not where the file is all that is left.
func InUse(path string) (bool, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd) // nothing was written
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err {
	case unix.ECONNREFUSED:
		return false, nil
	case nil, unix.EPROTOTYPE, unix.EPERM: // of datagrams, and the last: they have another peer
		return true, nil
	default:
		return false, os.NewSyscallError("connect", err)
	}
}
