package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// sight is what a look at the socket shows.
type sight struct {
	ws   *workspace // it begins with what is seen
	n    int        // how many bytes that are
	move bool       // what is no whole message has to leave the kernel, or nothing behind it could be seen
	last bool       // no more will come
	full bool       // nor may it: so many bytes are one session's
	cut  bool       // what is no whole message is recorded as a piece of one
}

// receive waits until the client has sent something, and looks at it. It sees no bytes at the end of the stream. With an error
// there is no workspace; it is os.ErrDeadlineExceeded when the deadline came first.
func (t *talk) receive() (sight, error) {
	if err := t.read(t.onReadable); err != nil {
		return sight{}, err
	}
	saw := t.got
	t.got = sight{}
	if t.errno != nil {
		t.server.workspaces.put(saw.ws)
		return sight{}, os.NewSyscallError("recv", t.errno)
	}
	return saw, nil
}

// look looks once. It says false when there is nothing new: then it holds no workspace, so that a client that waits has none.
func (t *talk) look(fd uintptr) bool {
	over := false
	if t.waiting > 0 {
		var more bool
		if more, over = ready(fd); !more {
			return false
		}
	}
	ws := t.server.workspaces.get()
	room := t.room(len(ws.in))
	if room == 0 {
		t.got, t.errno = sight{ws: ws, last: true, full: true}, nil
		return true
	}
	n, err := peek(fd, t.view(ws.in[:room]))
	if err == unix.EAGAIN {
		t.server.workspaces.put(ws)
		return false
	}
	full := n == room && room < len(ws.in)
	last := full || over && n == unread(fd) // bytes may have come before the end did
	t.got = sight{ws: ws, n: max(n, 0), move: n == t.waiting && !last, last: last, full: full}
	t.errno = err
	return true
}

// view is how much of buf a look may fill. One that ends where the process before stopped writing finds its messages again, also if
// they are what one read gave.
func (t *talk) view(buf []byte) []byte {
	if left := t.past.written - t.offset - int64(len(t.moved)); left > 0 {
		return buf[:min(left, int64(len(buf)))]
	}
	return buf
}

// expect has the kernel call the socket readable when it holds n bytes. It also does when it has no room for more.
func (t *talk) expect(fd uintptr, n int) {
	if n == max(t.lowat, 1) {
		return
	}
	t.lowat = n
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) // it takes any number
}
