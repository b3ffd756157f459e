package systemd

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// storePrefix is what the names of stored descriptors begin with. No listener is called so.
const storePrefix = "tcpmux/"

// The descriptors that a process leaves to the next.
const (
	// RingName is that of the two ends of a ring.
	RingName = storePrefix + "ring"
	// StateName is that of a file of what is known of connections.
	StateName = storePrefix + "state"
	// JournalName is that of a journal of records.
	JournalName = storePrefix + "journal"
	// SettingsName begins that of a file of the settings that connections began with; a number follows.
	SettingsName = storePrefix + "settings-"
	// probeName is that of a descriptor which shows whether anything is stored.
	probeName = storePrefix + "probe"
)

// Store has the service manager keep duplicates of descriptors beyond our end, and pass them to the next process under a name
// (sd_pid_notify_with_fds(3), FDSTORE=1). It is not told when it does not: ask StoreWorks. It needs FileDescriptorStoreMax= in the
// unit.
func Store(name string, fds ...int) error {
	return notifyWith("FDSTORE=1\nFDNAME="+name+"\nFDPOLL=0", fds...)
}

// Unstore has the service manager forget what is stored under a name.
func Unstore(name string) error { return Notify("FDSTOREREMOVE=1", "FDNAME="+name) }

// Waiting says whether connections of the process before lie in the descriptors that were passed in. It may be asked before Sockets.
func Waiting() bool {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return false
	}
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		if name != RingName {
			continue
		}
		if n, err := unix.IoctlGetInt(firstPassed+i, unix.SIOCINQ); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// ErrNoStore is that the service manager keeps nothing, or no more: FileDescriptorStoreMax= of the unit is too small.
var ErrNoStore = errors.New("the service manager stores no descriptor: set FileDescriptorStoreMax= in the unit")

// StoreWorks returns nil when the service manager keeps what Store gives it. It waits for its answer.
func StoreWorks(timeout time.Duration) error {
	kept, given, err := os.Pipe()
	if err != nil {
		return err
	}
	defer given.Close() // nothing was written
	err = notifyWith("FDSTORE=1\nFDNAME="+probeName+"\nFDPOLL=0", int(kept.Fd()))
	if err := errors.Join(err, kept.Close()); err != nil {
		return err
	}
	if err := barrier(timeout); err != nil {
		return err
	}
	// Somebody else has the other end, or nobody has.
	fds := []unix.PollFd{{Fd: int32(given.Fd())}}
	if _, err := unix.Poll(fds, 0); err != nil {
		return os.NewSyscallError("poll", err)
	}
	if fds[0].Revents&unix.POLLERR != 0 {
		return ErrNoStore
	}
	return Unstore(probeName)
}

// barrier returns when the service manager has dealt with all that it was told (sd_notify_barrier(3)).
func barrier(timeout time.Duration) error {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close() // nothing was written
	err = notifyWith("BARRIER=1", int(theirs.Fd()))
	if err := errors.Join(err, theirs.Close()); err != nil {
		return err
	}
	for end := time.Now().Add(timeout); ; {
		fds := []unix.PollFd{{Fd: int32(ours.Fd())}}
		n, err := unix.Poll(fds, int(time.Until(end).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return errors.New("the service manager does not answer")
		default:
			return nil
		}
	}
}

// notifyWith tells the service manager something that comes with descriptors. go-systemd knows no such thing.
func notifyWith(state string, fds ...int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)                                       // a datagram is gone once it is sent
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")} // a leading @ is an abstract one's for both
	return os.NewSyscallError("sendmsg", unix.Sendmsg(fd, []byte(state), unix.UnixRights(fds...), to, unix.MSG_NOSIGNAL))
}
