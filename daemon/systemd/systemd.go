// Package systemd speaks with the service manager: the sockets it passes in, the notifications it waits for, its watchdog, what it
// stores and its journal. Without a service manager whatever speaks to one says so by doing nothing. To a program that is to take
// our place it speaks as a service manager does (Bequeath, Inbox). What a descriptor is for it knows by name alone.
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
	// Name is its FileDescriptorName=, by default the socket unit's name; "" when none was given.
	Name string
	// File is the descriptor; it is the caller's to close.
	File *os.File
	// Ours says that it comes from the process before by Bequeath, and not from the service manager.
	Ours bool
}

// Stored says whether the descriptor is one that Store has put away, and no socket of a unit.
func (s Socket) Stored() bool { return strings.HasPrefix(s.Name, storePrefix) }

// Sockets returns the descriptors that were passed in, in order (sd_listen_fds_with_names(3)), those that Store has put away apart
// from the others. It hands them out once; the environment no longer names them afterwards, so that a child is not misled. Call it
// before anything else is opened: an environment that promises descriptors which are not there is an error, and those that are
// there are not touched. What Bequeath has left is had in the same way.
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

// Misdirected is the process that the environment says the descriptors are for, when it is another one, such as a shell that has
// started us without exec; "" otherwise. Sockets forgets it.
func Misdirected() (pid string) {
	if pid = os.Getenv("LISTEN_PID"); pid == strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") == "" {
		return ""
	}
	return pid
}

// firstPassed is the first descriptor that is passed in (SD_LISTEN_FDS_START).
const firstPassed = 3

// promised says what is wrong with the descriptors that the environment promises us.
func promised() error {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil // they are for another process, or there are none
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

// Notified says whether a service manager wants to be told of our state.
func Notified() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Notify tells the service manager of our state, one assignment a line (sd_notify(3)): "READY=1", "STATUS=…".
func Notify(state ...string) error {
	_, err := daemon.SdNotify(false, strings.Join(state, "\n"))
	return err
}

// MonotonicUsec is the assignment that goes with RELOADING=1: when the reload began.
func MonotonicUsec() string { return daemon.SdNotifyMonotonicUsec() }

// ExtendTimeout is the assignment by which the service manager waits so long from now on for what is under way, a stop say, even where
// its own limit (TimeoutStopSec=) is shorter (sd_notify(3)).
func ExtendTimeout(d time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10)
}

// WatchdogInterval is how long the service manager waits for WATCHDOG=1 before it takes us for dead; 0 when it does not
// wait (sd_watchdog_enabled(3)).
func WatchdogInterval() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }

// ToJournal says whether f is connected to the journal, which adds the time itself and takes priorities in front of a line
// (systemd.exec(5), $JOURNAL_STREAM).
func ToJournal(f *os.File) bool {
	dev, ino, found := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	var st unix.Stat_t
	if !found || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return dev == strconv.FormatUint(uint64(st.Dev), 10) && ino == strconv.FormatUint(st.Ino, 10)
}
