package generator

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Priorities of a line, those of syslog(3).
const (
	Error   = 3
	Warning = 4
)

const identifier = "tcpmux-generator"

// Where systemd's journal listens, and the kernel, which keeps lines for it before it does.
const (
	journalSocket = "/run/systemd/journal/socket"
	kernelLog     = "/dev/kmsg"
)

// patience is how long the journal may keep us waiting. PID 1 waits for us, so nothing may wait for
// PID 1.
const patience = 100 * time.Millisecond

// Tell writes a line to the journal, where "journalctl -u tcpmux.socket" finds it, or to the
// kernel's log while there is no journal, as at boot. A generator's standard error leads nowhere.
// It waits for at most a tenth of a second.
func Tell(priority int, line string) error {
	if err := toJournal(journalSocket, priority, line); err != nil {
		if kerr := toKernel(kernelLog, priority, line); kerr != nil {
			return errors.Join(err, kerr)
		}
	}
	return nil
}

// toJournal speaks systemd's native journal protocol: a datagram of FIELD=value lines.
func toJournal(socket string, priority int, line string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // a datagram is gone once it is written
	if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nOBJECT_SYSTEMD_UNIT=%s\n",
		oneLine(line), priority, identifier, mainSocket)
	return err
}

// toKernel writes to /dev/kmsg. The kernel takes ten lines from one opening and drops the rest:
// each line has its own. In a container it can be a pipe that nobody reads, so package os, which
// waits, is of no use here.
func toKernel(path string, priority int, line string) error {
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_APPEND|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", path, err)
	}
	text := fmt.Sprintf("<%d>%s[%d]: %s\n", priority, identifier, os.Getpid(), oneLine(line))
	if _, err = syscall.Write(fd, []byte(text)); err != nil {
		err = fmt.Errorf("write %q: %w", path, err)
	}
	return errors.Join(err, syscall.Close(fd))
}

// oneLine keeps a line one line: a second would be a field of its own.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }
