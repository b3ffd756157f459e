package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inheritVariable is the environment variable with the descriptors that a program leaves to the
// program that it executes: our pid, and then NAME=DESCRIPTOR for each.
const inheritVariable = "TCPMUX_INHERIT"

// Bequeath keeps descriptors open across execve(2). It returns the environment assignment by which
// Sockets of the program that takes our place finds them. Names must not contain blanks or "=".
func Bequeath(all []Socket) (assignment string, err error) {
	words := []string{strconv.Itoa(os.Getpid())}
	for _, s := range all {
		raw, err := s.File.SyscallConn()
		if err != nil {
			return "", err
		}
		cerr := raw.Control(func(fd uintptr) {
			words = append(words, fmt.Sprintf("%s=%d", s.Name, fd))
			_, err = unix.FcntlInt(fd, unix.F_SETFD, 0)
		})
		if cerr != nil || err != nil {
			return "", fmt.Errorf("bequeath %q: %w", s.Name, os.NewSyscallError("fcntl", err))
		}
	}
	return inheritVariable + "=" + strings.Join(words, " "), nil
}

// inherited returns the descriptors that Bequeath of the program before us left. They are handed
// out once.
func inherited() (all []Socket, err error) {
	words := strings.Fields(os.Getenv(inheritVariable))
	_ = os.Unsetenv(inheritVariable) // it fails only for an invalid name
	if len(words) == 0 || words[0] != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, word := range words[1:] {
		name, number, _ := strings.Cut(word, "=")
		fd, err := strconv.Atoi(number)
		if err != nil || fd < firstPassed {
			return nil, fmt.Errorf("%s has %q, want NAME=DESCRIPTOR", inheritVariable, word)
		}
		unix.CloseOnExec(fd)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return nil, fmt.Errorf("%s promises descriptor %d: %w", inheritVariable, fd, err)
		}
		all = append(all, Socket{Name: name, File: os.NewFile(uintptr(fd), name), Ours: true})
	}
	return all, nil
}
