package session

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/framing"
)

// moveSize is how long the beginning of a message may be to wait in the kernel for its end. It is
// far below the smallest default receive buffer (tcp(7), tcp_rmem), and bounds what is seen again
// with each piece of a message.
const moveSize = 16 << 10

// Record records message after message, until there is a reason to end.
func (r *Recorder) Record() (why Reason, err error) {
	r.s.Await(ForClient)
	r.resume()
	for why == "" {
		why, err = r.next()
	}
	r.s.Env.Spill.hold(r, 0)
	return why, err
}

// next waits for what comes next, and records it. A reason is that the session ends.
func (r *Recorder) next() (Reason, error) {
	if err := r.s.Conn.Wait(r.onRead); err != nil {
		return r.interrupted(err)
	}
	switch {
	case r.buf.n == 0 || r.buf.full:
		return r.takeLast()
	case r.s.offset == 0 && r.greetsInTLS():
		return r.endTLS()
	}
	if err := r.take(framing.EOF); err != nil {
		return BySink, err
	}
	if r.malformed != nil || r.unheard() {
		return r.giveUp()
	}
	if r.draining {
		r.halfClose()
	}
	return "", nil
}

// unheard reports whether the client does not take what it is sent, or has gone.
func (r *Recorder) unheard() bool {
	return r.ack != nil && r.ack.unheard != nil || r.echo != nil && r.echo.failed != nil
}

// borrow makes a buffer the session's, which shows nothing yet.
func (r *Recorder) borrow() *Buffer {
	r.buf = r.s.Buffers().Get()
	return r.buf
}

// letGo gives the buffer back.
func (r *Recorder) letGo() {
	r.s.Buffers().Put(r.buf)
	r.buf = nil
}

// peek peeks once, and reports whether there is something new: bytes, the end of the stream, which
// shows as none, or an error. Only then does it hold a buffer.
func (r *Recorder) peek() bool {
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
	in := r.in()
	room := r.room(len(in))
	if room == 0 {
		b.last, b.full = true, true
		return true
	}
	n, err := r.s.peek(in[:room])
	if err == unix.EAGAIN {
		return false
	}
	b.n, b.err = max(n, 0), err
	b.full = n == room && room < len(in)
	b.last = b.full || ended && n == r.s.Conn.Unread() // bytes may have come before the end did
	b.move = n == r.waiting && !b.last
	return true
}

// in returns where a peek shows bytes: all of the buffer's memory for them, or as much as they may
// be if they go on to somebody else.
func (r *Recorder) in() []byte {
	if r.relay != nil || r.echo != nil {
		return r.buf.in[:passSize]
	}
	return r.buf.in
}

// room returns how many bytes, n at most, may be seen of the socket; those that wait there are
// among them.
func (r *Recorder) room(n int) int {
	most := r.s.Bounds.Load().Bytes
	if most == 0 {
		return n
	}
	return int(min(max(most-r.s.offset-int64(len(r.moved)), 0), int64(n)))
}

// take records the messages that are seen, and then removes them from the socket. What is no whole
// message yet waits there, or is recorded with flag when no more will come.
func (r *Recorder) take(flag framing.Flag) error {
	first, from := r.s.records, r.s.offset
	fresh, done, err := r.encodeAll(flag)
	if err != nil {
		r.letGo()
		return r.s.Lose(first, err)
	}
	if err := r.commit(first); err != nil {
		return err
	}
	return r.consume(done, r.s.offset > from, fresh)
}

// encodeAll makes records, which commit has written, of the messages that are seen. It returns
// whether anything has come since the previous process, and how many bytes the socket will be done
// with.
func (r *Recorder) encodeAll(flag framing.Flag) (fresh bool, done int, err error) {
	first := r.s.records
	r.start()
	n, err := r.cut(flag)
	if err != nil {
		return false, 0, err
	}
	// What fill has found last.
	r.between = r.buf.framed.Flag == framing.Between
	fresh = r.s.records > first || r.buf.n > r.s.Resume.Unread
	return fresh, r.recorded(n), nil
}

// start has what is seen be the end of what there is, and the records that are made of it show this
// moment.
func (r *Recorder) start() {
	r.s.Begin(r.buf, time.Now())
	if len(r.moved) > 0 {
		r.moved = append(r.moved, r.buf.in[:r.buf.n]...)
	}
}

// data is what there is of the stream from the first message on that is not recorded.
func (r *Recorder) data() []byte {
	if len(r.moved) > 0 {
		return r.moved
	}
	return r.buf.in[:r.buf.n]
}

// cut encodes the messages that there are and returns how many bytes they are. Output that has
// become long goes to the sink, which may take its time: the session is busy with its client's
// bytes only in between.
func (r *Recorder) cut(flag framing.Flag) (n int, err error) {
	for more := true; more; {
		r.s.SetBusy(true)
		n, more = r.fill(n, flag)
		r.s.SetBusy(false)
		if more {
			if err := r.gather(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// fill encodes the messages behind the first n bytes until the output is long, and returns how many
// bytes are encoded by then. It reports whether there may be more messages.
func (r *Recorder) fill(n int, flag framing.Flag) (int, bool) {
	for r.nextMessage(n, flag) {
		n += r.buf.framed.Len()
		r.encode()
		if len(r.buf.out) >= BatchSize {
			return n, true
		}
	}
	return n, false
}

// nextMessage makes the first message behind n bytes what is encoded next. It returns false when
// there are no more.
func (r *Recorder) nextMessage(n int, flag framing.Flag) bool {
	b, data := r.buf, r.data()[n:]
	if left := r.s.Resume.Cut - r.s.offset; 0 < left && left <= int64(len(data)) {
		return r.again(data[:left])
	}
	if b.silent {
		flag = framing.Whole
	}
	if !b.rest {
		b.framed = r.framer.Next(data)
		b.rest = b.framed.Len() == 0 && (b.last || b.silent)
	}
	switch {
	case b.rest:
		b.framed = r.framer.Rest(data, flag)
	case b.framed.Len() == 0 && len(data) > minPiece && !r.fits(data):
		b.framed = r.framer.Part(data[:len(data)-r.s.Settings.Framing.Tail()])
	}
	return b.framed.Len() > 0
}

// again makes the first message in data what is encoded next. The previous process has recorded all
// of data, so what of it is no whole message was a piece. With Silence that does not show: what is
// shorter than the longest piece was most often the whole or the end of a message.
func (r *Recorder) again(data []byte) bool {
	b := r.buf
	b.framed = r.framer.Next(data)
	switch {
	case b.framed.Len() > 0:
	case r.s.Settings.Framing.Kind == framing.Silence && len(data) < r.s.Settings.Framing.Max:
		b.framed = r.framer.Rest(data, framing.Whole)
	default:
		b.framed = r.framer.Part(data)
	}
	return true
}

// encode appends one message to the buffer's output.
func (r *Recorder) encode() {
	m, to := &r.buf.framed, &r.buf.Message
	if crashTest {
		crashOn(m.Data())
	}
	if m.Flag == framing.Malformed && r.malformed == nil {
		r.malformed = fmt.Errorf("no %s message begins at byte %d", r.s.Settings.Framing.Kind, r.s.offset)
	}
	to.Offset, to.Raw = r.s.offset, m.Raw
	to.HeadLen, to.EndLen, to.Flag = int(m.HeadLen), int(m.EndLen), m.Flag.String()
	if r.ack != nil {
		r.owe(m)
	}
	r.s.Add(r.buf)
}
