package systemd

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// storePrefix begins the names of stored descriptors. No listener can have such a name.
const storePrefix = "tcpmux/"

// The names of descriptors that a process leaves to the next process.
const (
	// RingName names the two ends of the ring of connections.
	RingName = storePrefix + "ring"
	// StateName names the file with the state of connections.
	StateName = storePrefix + "state"
	// TLSName names the file with the state of connections whose TLS the kernel does.
	TLSName = storePrefix + "tls"
	// UnixName names the file with the state of connections of unix sockets.
	UnixName = storePrefix + "unix"
	// PairsName names the file with what is known of clients of proxies and their upstreams.
	PairsName = storePrefix + "pairs"
	// JournalName names the journal of records.
	JournalName = storePrefix + "journal"
	// SettingsName begins the name of a file with the settings that connections began with. A
	// number follows.
	SettingsName = storePrefix + "settings-"
	// probeName names a descriptor that shows whether anything is stored.
	probeName = storePrefix + "probe"
)

// Store asks the service manager to keep duplicates of descriptors beyond the end of this process,
// and to pass them to the next process under a name (sd_pid_notify_with_fds(3), FDSTORE=1). The
// unit needs FileDescriptorStoreMax=. Store cannot know whether they are kept: StoreWorks finds
// out.
func Store(name string, fds ...int) error {
	return notifyWith("FDSTORE=1\nFDNAME="+name+"\nFDPOLL=0", fds...)
}

// Unstore asks the service manager to close the descriptors that are stored under a name.
func Unstore(name string) error { return Notify("FDSTOREREMOVE=1", "FDNAME="+name) }

// Waiting reports whether the descriptors that were passed in hold connections of the previous
// process. Call it before Sockets.
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

// ErrNoStore reports that the service manager keeps no descriptors, or no more:
// FileDescriptorStoreMax= of the unit is too small.
var ErrNoStore = errors.New("the service manager stores no descriptor: set FileDescriptorStoreMax= in the unit")

// closeGrace is how long the service manager may take to close what it does not store.
const closeGrace = 50 * time.Millisecond

// StoreWorks returns nil if the service manager keeps what Store gives it, and ErrNoStore if it
// does not. It waits for the service manager.
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
	// The pipe is broken unless the service manager has the other end. It may close what it
	// does not store a little after the barrier.
	fds := []unix.PollFd{{Fd: int32(given.Fd())}}
	for end := time.Now().Add(closeGrace); ; {
		_, err := unix.Poll(fds, int(max(0, time.Until(end)).Milliseconds()))
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
	if fds[0].Revents&unix.POLLERR != 0 {
		return ErrNoStore
	}
	return Unstore(probeName)
}

// barrier waits until the service manager has processed all notifications (sd_notify_barrier(3)).
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

// notifyWith sends the service manager a notification with descriptors, which go-systemd cannot.
func notifyWith(state string, fds ...int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd) // a datagram is not lost once it is sent
	// A leading @ means an abstract name, for systemd and for package unix.
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	err = unix.Sendmsg(fd, []byte(state), unix.UnixRights(fds...), to, unix.MSG_NOSIGNAL)
	return os.NewSyscallError("sendmsg", err)
}
