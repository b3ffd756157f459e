package session

import (
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
)

// echo sends back to the client what is recorded, before it is removed from the socket: a client
// that outlives us rather gets it twice than never.
type echo struct {
	carried func(n int) // called after bytes were sent
	due     int         // bytes that are to be sent once they are written
	kept    []byte      // these, if not all of them are in the socket
	sent    int         // how many the previous process has sent of what comes next
	failed  error       // not nil: the client does not take them
}

// echoBuffers are what bytes are in on their way from the socket and back to it.
var echoBuffers = sync.Pool{New: func() any { return new([passSize]byte) }}

// Echo has what is recorded from now on sent back to the client, and carried called with the number
// of bytes after some were. A client that takes nothing for ack_timeout is closed. Echo is called
// before Record.
func (r *Recorder) Echo(carried func(n int)) {
	r.echo = &echo{carried: carried}
	if r.s.Resumed() {
		r.echo.sent = int(r.s.Slot.Tally().Pieces)
	}
}

// owe notes what is to be sent once it is written. moved tells that it is not all in the socket.
func (e *echo) owe(data []byte, moved bool) {
	if e.due, e.kept = len(data), nil; moved {
		e.kept = slices.Clone(data)
	}
}

// sendBack sends what is due. An error is that the session leaves: the next process sends the rest.
func (r *Recorder) sendBack() error {
	e := r.echo
	done := min(e.sent, e.due)
	e.sent -= done
	r.giveTime()
	for done < e.due && e.failed == nil && !r.farewell {
		n, err := r.sendSome(done)
		switch {
		case n > 0:
			done += n
			r.giveTime()
			e.carried(n)
		case err == nil:
		case r.s.Phase() == Leaving:
			t := r.s.Slot.Tally()
			t.Pieces = int64(done)
			r.s.Slot.Count(t)
			return err
		default:
			e.failed = err
		}
	}
	e.due, e.kept = 0, nil
	return nil
}

// giveTime gives the client its time to take what comes next.
func (r *Recorder) giveTime() {
	if timeout := r.s.Settings.AckTimeout; timeout > 0 {
		r.s.Conn.SetWriteDeadline(time.Now().Add(timeout))
	}
}

// sendSome sends some of what is due behind the first bytes, which are sent, or waits until there
// is room.
func (r *Recorder) sendSome(done int) (int, error) {
	if kept := r.echo.kept; kept != nil {
		return r.s.Send(kept[done:], func() {})
	}
	buf := echoBuffers.Get().(*[passSize]byte)
	n, err := r.s.Conn.Peek(buf[:r.echo.due])
	if n <= done { // what a peek has shown cannot have gone, unless the client has
		echoBuffers.Put(buf)
		if err == nil {
			err = unix.ECONNRESET
		}
		return 0, os.NewSyscallError("recv", err)
	}
	n, err = r.s.Send(buf[done:n], func() { echoBuffers.Put(buf); buf = nil })
	if buf != nil {
		echoBuffers.Put(buf)
	}
	return n, err
}

// Send sends what there is room for of b, which is not empty, and returns how much that is. If
// there is no room it waits until there may be some; if b is of no use to that, it calls release
// first. Its waits end at the write deadline, and for good after Expire: what it has returned by
// then is all that was sent, unless the daemon encrypts. What comes next begins with what was not
// sent.
func (s *Session) Send(b []byte, release func()) (n int, err error) {
	n, err = s.Conn.TryWrite(b)
	if n > 0 || err != nil {
		return n, err
	}
	s.Await(ForAck)
	defer s.Await(ForClient)
	switch c := s.Conn.(type) {
	case *conn.Poll:
		release()
		return 0, c.AwaitRoom()
	case *tlsconn.Conn:
		if !s.Secured().Kernel { // a record may have been made of all of b
			return sent(b, c.Write(b))
		}
	}
	return sent(b[:1], s.Conn.Write(b[:1])) // of one byte it is known whether it was sent
}

func sent(b []byte, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return len(b), nil
}
