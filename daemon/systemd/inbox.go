package systemd

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Inbox receives the notifications of a process that has us for its service manager
// ($NOTIFY_SOCKET). Create one with NewInbox.
type Inbox struct{ conn *net.UnixConn }

// NewInbox opens an inbox under an abstract name that the kernel chooses (unix(7), autobind),
// because there may be no directory to write to. The caller closes it.
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

// Ready returns a channel that is closed once the process has sent READY=1. Any process on the
// machine may send to an abstract name; what others send is ignored. Until Close everything is
// read, so that no sender waits for room. Call Ready once.
func (i *Inbox) Ready(pid int) <-chan struct{} {
	ready := make(chan struct{})
	go i.receive(pid, ready)
	return ready
}

func (i *Inbox) receive(pid int, ready chan<- struct{}) {
	text, oob := make([]byte, 4096), make([]byte, 4096)
	for closed := false; ; {
		n, oobn, _, _, err := i.conn.ReadMsgUnix(text, oob)
		if err != nil {
			return // the inbox is closed
		}
		assignments := strings.Split(string(text[:n]), "\n")
		if sender(oob[:oobn]) == pid && !closed && slices.Contains(assignments, "READY=1") {
			closed = true
			close(ready)
		}
	}
}

// Close closes the inbox. A channel of Ready stays as it is.
func (i *Inbox) Close() { _ = i.conn.Close() } // nothing was written

// sender returns the process that sent a message; 0 if it is unknown. Descriptors that came with
// the message are closed: nothing needs to be stored here, because we have them too.
func sender(oob []byte) (pid int) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		if c, err := unix.ParseUnixCredentials(&m); err == nil {
			pid = int(c.Pid)
		}
		fds, _ := unix.ParseUnixRights(&m) // a message of another kind has none
		for _, fd := range fds {
			_ = unix.Close(fd) // nothing was written
		}
	}
	return pid
}

// Environ returns our environment for a process that has this inbox as its service manager, and the
// descriptors from number 3 on. The process itself adds its pid: see Claim.
func (i *Inbox) Environ(descriptors []Socket) []string {
	var names []string
	for _, s := range descriptors {
		names = append(names, s.Name)
	}
	env := slices.DeleteFunc(os.Environ(), func(assignment string) bool {
		name, _, _ := strings.Cut(assignment, "=")
		return slices.Contains(managerVariables, name)
	})
	return append(env, "NOTIFY_SOCKET="+i.conn.LocalAddr().String(),
		"LISTEN_FDS="+strconv.Itoa(len(descriptors)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
}

// managerVariables are the environment variables by which a service manager talks to a process.
var managerVariables = []string{
	"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
}

// Claim returns the environment of this process in which the descriptors of Environ are for itself.
func Claim() []string { return append(os.Environ(), "LISTEN_PID="+strconv.Itoa(os.Getpid())) }
