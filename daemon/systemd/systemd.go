// Package systemd talks to the service manager: about the sockets that it passes in, notifications,
// its watchdog, its descriptor store and its journal. Without a service manager, functions that
// notify it do nothing. For a program that will take the place of this process, the package acts as
// a service manager (Bequeath, Inbox). It knows descriptors by their names alone.
package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Socket is a descriptor that the service manager has passed in.
type Socket struct {
	// Name is its FileDescriptorName=, by default the name of the socket unit; "" if it has no
	// name.
	Name string
	// File is the descriptor. The caller closes it.
	File *os.File
	// Ours reports whether the descriptor comes from the previous program by Bequeath, and not
	// from the service manager.
	Ours bool
}

// Stored reports whether the descriptor was stored by Store. Otherwise it is a socket of a unit.
func (s Socket) Stored() bool { return strings.HasPrefix(s.Name, storePrefix) }

// Sockets returns the descriptors that were passed in, in order (sd_listen_fds_with_names(3)):
// sockets of units, and descriptors that Store stored. Those that Bequeath left are among them. It
// returns them once, and removes them from the environment, so that no child is misled. Call it
// before any other file is opened: if the environment names a descriptor that is not open, that is
// an error, and the others are not touched.
func Sockets() (sockets, stored []Socket, err error) {
	all, err := inherited()
	if err != nil {
		return nil, nil, err
	}
	if err := promised(); err != nil {
		return nil, nil, err
	}
	named := os.Getenv("LISTEN_FDNAMES") != ""
	for _, f := range activation.Files(true) {
		s := Socket{File: f}
		if named {
			s.Name = f.Name()
		}
		all = append(all, s)
	}
	for _, s := range all {
		if s.Stored() {
			stored = append(stored, s)
		} else {
			sockets = append(sockets, s)
		}
	}
	return sockets, stored, nil
}

// Misdirected returns the pid that the environment says the descriptors are for, if it is that of
// another process, such as a shell that started us without exec; otherwise "". Call it before
// Sockets.
func Misdirected() (pid string) {
	if pid = os.Getenv("LISTEN_PID"); pid == strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") == "" {
		return ""
	}
	return pid
}

// firstPassed is the first descriptor that is passed in (SD_LISTEN_FDS_START).
const firstPassed = 3

// promised returns an error if a descriptor that the environment promises is not open.
func promised() error {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil // there are no descriptors, or they are for another process
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n <= 0 {
		return nil
	}
	for fd := firstPassed; fd-firstPassed < n; fd++ {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("LISTEN_FDS=%d promises descriptor %d: %w", n, fd, err)
		}
	}
	return nil
}

// Notified reports whether a service manager expects notifications.
func Notified() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Notify tells the service manager our state, in assignments such as "READY=1" and "STATUS=…"
// (sd_notify(3)). Without a service manager it does nothing.
func Notify(state ...string) error {
	_, err := daemon.SdNotify(false, strings.Join(state, "\n"))
	return err
}

// MonotonicUsec returns the assignment that RELOADING=1 needs: the time at which the reload begins.
func MonotonicUsec() string { return daemon.SdNotifyMonotonicUsec() }

// ExtendTimeout returns the assignment by which the service manager waits for at least d from now
// on for what is under way, such as a stop, even if its own limit (TimeoutStopSec=) is shorter
// (sd_notify(3)).
func ExtendTimeout(d time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10)
}

// ToJournal reports whether f is connected to the journal, which adds the time to each line and
// accepts a priority in front of it (systemd.exec(5), $JOURNAL_STREAM).
func ToJournal(f *os.File) bool {
	dev, ino, found := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	var st unix.Stat_t
	if !found || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return dev == strconv.FormatUint(uint64(st.Dev), 10) && ino == strconv.FormatUint(st.Ino, 10)
}
