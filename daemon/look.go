package daemon

import "golang.org/x/sys/unix"

// sight is what a look at the socket shows.
type sight struct {
	n     int   // how many bytes
	err   error // why none could be seen
	move  bool  // what is no whole message has to leave the kernel, or nothing behind it could be seen
	last  bool  // no more will come
	full  bool  // nor may it: so many bytes are one session's
	cut   bool  // what is no whole message is recorded as a piece of one
	ended bool  // and that is where it has been cut to: what is left is no message's beginning
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

// hand has the session's records since first written, by way of its workspace, which it gives back.
func (t *talk) hand(first int64) error {
	ws := t.ws
	t.ws = nil
	return t.session.hand(ws, first)
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
	n, err := peek(t.fd, t.view(ws.in[:room]))
	if err == unix.EAGAIN {
		return false
	}
	ws.n, ws.err = max(n, 0), err
	ws.full = n == room && room < len(ws.in)
	ws.last = ws.full || over && n == t.unread() // bytes may have come before the end did
	ws.move = n == t.waiting && !ws.last
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
func (t *talk) expect(n int) {
	if n == max(t.lowat, 1) {
		return
	}
	t.lowat = n
	_ = unix.SetsockoptInt(int(t.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) // it takes any number
}
