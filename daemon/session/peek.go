package session

import "golang.org/x/sys/unix"

// peekResult is what a look at the socket shows, and what that asks of take. The zero value shows
// nothing.
type peekResult struct {
	n    int   // how many bytes are seen
	err  error // why none could be
	full bool  // they are the last that the session may send (max_session_bytes)
	last bool  // no more will come than is seen
	// move has the beginning of a message, at the end of what is seen, leave the kernel: nothing
	// shows behind it otherwise.
	move bool
	cut  bool // and it may not be held in our memory: it is recorded as a piece
	// rest tells that nextMessage has found the last whole message of a stream that ends: what is
	// left is the framer's Rest.
	rest bool
}

// borrow makes a buffer the session's, which shows nothing yet.
func (r *Recorder) borrow() *Buffer {
	r.buf = r.s.Env.Buffers.Get()
	return r.buf
}

// letGo gives the buffer back.
func (r *Recorder) letGo() {
	r.s.Env.Buffers.Put(r.buf)
	r.buf = nil
}

// look looks once, and reports whether there is something new: bytes, the end of the stream, which
// shows as none, or an error. Only then does it hold a buffer.
func (r *Recorder) look() bool {
	ended := false
	if r.waiting > 0 {
		var some bool
		if some, ended = r.s.Conn.Readable(); !some {
			return false
		}
	}
	r.borrow()
	if !r.see(ended) {
		r.letGo()
		return false
	}
	return true
}

// see fills the buffer with what there is, and reports whether there is something new. ended tells
// that no more will come.
func (r *Recorder) see(ended bool) bool {
	b := r.buf
	room := r.room(len(b.in))
	if room == 0 {
		b.last, b.full = true, true
		return true
	}
	n, err := r.s.Conn.Peek(b.in[:room])
	if err == unix.EAGAIN {
		return false
	}
	b.n, b.err = max(n, 0), err
	b.full = n == room && room < len(b.in)
	b.last = b.full || ended && n == r.s.Conn.Unread() // bytes may have come before the end did
	b.move = n == r.waiting && !b.last
	return true
}

// expect has the kernel call the socket readable when it holds n bytes. It also does when it has no
// room for more.
func (r *Recorder) expect(n int) {
	if n == max(r.lowat, 1) {
		return
	}
	r.lowat = n
	r.s.Conn.SetLowWater(n)
}
