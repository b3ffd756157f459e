package daemon

import "golang.org/x/sys/unix"

// sight is what a look at the socket shows, and what that asks of take. The zero value shows nothing.
type sight struct {
	n    int   // how many bytes are seen
	err  error // why none could be
	full bool  // they are the last that the session may send (max_session_bytes)
	last bool  // no more will come than is seen
	move bool  // the beginning of a message, at the end of what is seen, has to leave the kernel: nothing shows behind it otherwise
	cut  bool  // and may not be held in our memory: it is recorded as a piece
	rest bool  // next has found the last whole message of a stream that ends: what is left is the framer's Rest
}

// borrow makes a workspace the session's, which shows nothing yet.
func (t *talk) borrow() *workspace {
	t.ws = t.server.workspaces.get()
	return t.ws
}

// letGo gives the workspace back.
func (t *talk) letGo() {
	t.server.workspaces.put(t.ws)
	t.ws = nil
}

// look looks once, and says whether there is something new: bytes, the end of the stream, which shows as none, or an error. Only
// then does it hold a workspace.
func (t *talk) look(fd uintptr) bool {
	over := false
	if t.waiting > 0 {
		var more bool
		if more, over = ready(fd); !more {
			return false
		}
	}
	t.borrow()
	if !t.see(over) {
		t.letGo()
		return false
	}
	return true
}

// see fills the workspace with what there is; it says false when there is nothing new. over says that no more will come.
func (t *talk) see(over bool) bool {
	ws := t.ws
	room := t.room(len(ws.in))
	if room == 0 {
		ws.last, ws.full = true, true
		return true
	}
	n, err := peek(t.fd, ws.in[:room])
	if err == unix.EAGAIN {
		return false
	}
	ws.n, ws.err = max(n, 0), err
	ws.full = n == room && room < len(ws.in)
	ws.last = ws.full || over && n == t.unread() // bytes may have come before the end did
	ws.move = n == t.waiting && !ws.last
	return true
}

// expect has the kernel call the socket readable when it holds n bytes. It also does when it has no room for more.
func (t *talk) expect(n int) {
	if n == max(t.lowat, 1) {
		return
	}
	t.lowat = n
	_ = unix.SetsockoptInt(int(t.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) // it takes any number
}
