package systemd

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process that we start may have us for its service manager: it has its sockets from us, and tells us of its state.

// Inbox is where such a process tells what it would tell a service manager ($NOTIFY_SOCKET).
type Inbox struct{ conn *net.UnixConn }

// NewInbox opens one under an abstract name that nobody else has (unix(7), autobind): there may be no directory to write.
func NewInbox() (*Inbox, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		_ = conn.Close() // nothing was written
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return &Inbox{conn}, nil
}

// Ready returns a channel that is closed once the process has said READY=1. What others say to an abstract name, which everybody on
// the machine may, does not count. All is read until Close, as a process may wait for room to say something. It may be called once.
func (i *Inbox) Ready(pid int) <-chan struct{} {
	ready := make(chan struct{})
	go i.hear(pid, ready)
	return ready
}

func (i *Inbox) hear(pid int, ready chan<- struct{}) {
	text, oob := make([]byte, 4096), make([]byte, 4096)
	for told := false; ; {
		n, oobn, _, _, err := i.conn.ReadMsgUnix(text, oob)
		if err != nil {
			return // it is closed
		}
		if sender(oob[:oobn]) == pid && !told && slices.Contains(strings.Split(string(text[:n]), "\n"), "READY=1") {
			told = true
			close(ready)
		}
	}
}

// Close ends the listening.
func (i *Inbox) Close() { _ = i.conn.Close() } // nothing was written

// sender is the process that sent a message; 0 when it is not known. Descriptors that came with it are closed: nothing is stored
// here, as whoever started the process has all that it goes on with.
func sender(oob []byte) (pid int) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		if c, err := unix.ParseUnixCredentials(&m); err == nil {
			pid = int(c.Pid)
		}
		fds, _ := unix.ParseUnixRights(&m) // of another kind of message there are none
		for _, fd := range fds {
			_ = unix.Close(fd) // nothing was written
		}
	}
	return pid
}

// Environ is our environment, but for a process that has this inbox in place of our service manager, and the descriptors from 3 on.
// The process itself has to add what only it knows: Claim.
func (i *Inbox) Environ(descriptors []Socket) []string {
	var names []string
	for _, s := range descriptors {
		names = append(names, s.Name)
	}
	env := slices.DeleteFunc(os.Environ(), func(assignment string) bool {
		name, _, _ := strings.Cut(assignment, "=")
		return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}, name)
	})
	return append(env, "NOTIFY_SOCKET="+i.conn.LocalAddr().String(),
		"LISTEN_FDS="+strconv.Itoa(len(descriptors)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
}

// Claim is the environment of this process with the descriptors that Environ tells of as its own.
func Claim() []string { return append(os.Environ(), "LISTEN_PID="+strconv.Itoa(os.Getpid())) }

// Feed feeds the watchdog until stop is called, for somebody who is busy, and not for ever, with something that it does not know of.
func Feed() (stop func()) {
	interval, err := WatchdogInterval()
	if err != nil || interval <= 0 {
		return func() {} // it is off: that was told at the start
	}
	over := make(chan struct{})
	go feed(interval/3, over)
	return func() { close(over) }
}

func feed(interval time.Duration, over <-chan struct{}) {
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		_ = Notify("WATCHDOG=1") // whoever does not hear it acts on that
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}
