package daemon

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
)

// talk serves a client by a goroutine: it reads what the client says from a stream, cuts it into messages and records them.
type talk struct {
	*session
	stream
	framing framing.Line
	heard   time.Time // when the client last sent something
	rest    []byte    // bytes that are not a whole message yet; nil when there are none
	greeted atomic.Bool
	limited bool // a read deadline is set

	// What one read gave, between the poller's callback and receive.
	onReadable func(fd uintptr) bool
	got        *workspace
	n          int
	errno      error
}

// newTalk makes a talk whose goroutine sleeps in Go's poller.
func newTalk(s *session, fd int) (*talk, error) {
	st, err := newPolled(fd)
	if err != nil {
		return nil, err
	}
	return talkOver(s, st), nil
}

func talkOver(s *session, st stream) *talk {
	t := &talk{session: s, stream: st, framing: framing.Line{Max: int(s.settings.MaxMessage)}}
	t.onReadable = t.readNow
	return t
}

// serve implements model: it greets, then records message after message.
func (t *talk) serve() (reason, error) {
	greeting := t.greet()
	t.greeted.Store(true)
	if t.server.draining.Load() { // drain half-closes only who has been greeted by then
		t.halfClose()
	}
	if err := t.open(); err != nil {
		return bySink, err
	}
	if greeting != nil {
		return t.ungreeted(greeting)
	}
	t.heard = time.Now() // the silence until here was ours
	t.setDeadline()
	for {
		ws, n, err := t.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if why, over := t.deadline(); over {
				return t.finish(why, nil, framing.Timeout)
			}
		case err != nil:
			return t.finish(reasonOf(err, byError), err, framing.EOF)
		case n == 0:
			t.server.workspaces.put(ws)
			return t.finish(byEOF, nil, framing.EOF)
		default:
			if err := t.take(ws, n); err != nil {
				return bySink, err
			}
		}
	}
}

// ungreeted ends a session whose client did not take the banner; what it has said by now is recorded all the same.
func (t *talk) ungreeted(err error) (reason, error) {
	why, flag := reasonOf(err, byBanner), framing.EOF
	if why == byBanner {
		flag = framing.Timeout
	}
	return t.finish(t.lastWords(why), err, flag)
}

// greet sends the banner. It almost always fits the kernel's buffer at once; a client whose buffer it does not fit has
// bannerTimeout to read.
func (t *talk) greet() error {
	if t.settings.banner.text == "" {
		return nil
	}
	var small [64]byte
	text := t.settings.banner.appendTo(small[:0], t.session)
	var n int
	var err error
	t.control(func(fd uintptr) { n, err = unix.Write(int(fd), text) })
	switch {
	case n == len(text):
		return nil
	case err == nil || err == unix.EAGAIN || err == unix.EINTR:
		return t.greetSlowly(text[max(n, 0):])
	}
	return os.NewSyscallError("write", err)
}

// greetSlowly sends what is left of the banner as the client takes it.
func (t *talk) greetSlowly(text []byte) error {
	by := time.Now().Add(t.server.bannerTimeout)
	if t.server.expired.Load() {
		by = longAgo
	}
	return cause(t.write(text, by))
}

// receive waits until the client has sent something, and reads it into a workspace. n is 0 at the end of the stream. With
// an error there is no workspace; it is os.ErrDeadlineExceeded when the deadline came first.
func (t *talk) receive() (ws *workspace, n int, err error) {
	if err := t.read(t.onReadable); err != nil {
		return nil, 0, err
	}
	ws, n, err = t.got, t.n, t.errno
	t.got = nil
	if err != nil {
		t.server.workspaces.put(ws)
		return nil, 0, os.NewSyscallError("read", err)
	}
	return ws, n, nil
}

// readNow reads once. It says false when there is nothing to read: then the workspace goes back, so that a client that
// waits holds none.
func (t *talk) readNow(fd uintptr) bool {
	ws := t.server.workspaces.get()
	n, err := ws.read(int(fd))
	if err == unix.EAGAIN {
		t.server.workspaces.put(ws)
		return false
	}
	t.got, t.n, t.errno = ws, n, err
	return true
}

// take records the messages in the n bytes that were read into ws, and gives ws back. What is no whole message yet is kept
// for the next read.
func (t *talk) take(ws *workspace, n int) error {
	t.heard = time.Now()
	data := ws.join(t.rest, n)
	ws.encoder.Begin(&t.source, t.heard)
	first := t.records
	for {
		m := t.framing.Next(data)
		if m.Len() == 0 {
			break
		}
		t.encode(ws, m)
		data = data[m.Len():]
		if len(ws.out) >= outSize {
			if _, err := t.server.sink.Gather(ws.out); err != nil {
				t.server.workspaces.put(ws)
				return t.fail(first, err)
			}
			ws.out = ws.out[:0]
		}
	}
	t.rest = t.server.workspaces.keep(t.rest, data)
	if err := t.hand(ws, first); err != nil {
		return err
	}
	if t.limited {
		t.heard = time.Now() // while the sink had us wait, the silence was ours
	}
	return nil
}

// encode appends one message to the workspace's output.
func (t *talk) encode(ws *workspace, m framing.Message) {
	ws.out = ws.encoder.Message(ws.out, record.Message{
		Offset: t.offset, Head: m.Head, Data: m.Data, End: m.End, Flag: m.Flag.String(),
	})
	t.offset += int64(m.Len())
	t.records++
}

// finish records what is left of the client's bytes when no more will come. why stays the reason unless the sink fails.
func (t *talk) finish(why reason, err error, flag framing.Flag) (reason, error) {
	if len(t.rest) == 0 {
		return why, err
	}
	ws := t.server.workspaces.get()
	ws.encoder.Begin(&t.source, time.Now())
	first, rest := t.records, t.rest
	for len(rest) > 0 {
		m := t.framing.Rest(rest, flag)
		t.encode(ws, m)
		rest = rest[m.Len():]
	}
	t.rest = t.server.workspaces.keep(t.rest, nil)
	if err := t.hand(ws, first); err != nil {
		return bySink, err
	}
	return why, err
}

// setDeadline makes receive return when the client has been silent for idle_timeout, or, while the server drains, when that
// is over. It is called again when a deadline came too early, not at every read: a deadline costs more than the look at the
// clock that tells.
func (t *talk) setDeadline() {
	var at time.Time // none
	if idle := t.idleTimeout(); idle > 0 {
		at = t.heard.Add(idle)
	}
	if !at.IsZero() || t.limited {
		t.setReadDeadline(at)
		t.limited = !at.IsZero()
	}
	if t.server.expired.Load() { // it may have come between: the server sets its deadline only once
		t.wake()
	}
}

// deadline says whether the session is over, and why, after a deadline has passed.
func (t *talk) deadline() (why reason, over bool) {
	if t.server.expired.Load() {
		return t.lastWords(byDrain), true
	}
	t.limited = true
	if t.unread() > 0 {
		t.heard = time.Now() // it came just now
	}
	if idle := t.idleTimeout(); idle > 0 && time.Since(t.heard) >= idle {
		return byIdle, true
	}
	t.setDeadline()
	return "", false
}

// lastWords records what has arrived by now, and no more, when the time to finish is over. It returns why, unless the sink
// fails.
func (t *talk) lastWords(why reason) reason {
	for left := t.unread(); left > 0; {
		ws := t.server.workspaces.get() // before control, which others wait for
		n, err := 0, error(nil)
		t.control(func(fd uintptr) { n, err = ws.read(int(fd)) })
		if err != nil || n <= 0 {
			t.server.workspaces.put(ws)
			break
		}
		if err := t.take(ws, n); err != nil {
			return bySink
		}
		left -= n
	}
	return why
}

// unread is how many bytes have arrived that were not read yet.
func (t *talk) unread() (n int) {
	t.control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }) // on error: none
	return n
}

// drain implements model.
func (t *talk) drain() {
	if t.greeted.Load() { // else serve does it
		t.halfClose()
	}
}

// halfClose tells the client that we will say no more.
func (t *talk) halfClose() {
	t.control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }) // a peer that has gone need not be told
}

// nudge implements model.
func (t *talk) nudge() { t.wake() }

// cause takes the operation and the name off an error of os.File, which the log line's words give better.
func cause(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

// reasonOf is the reason that goes with an error of the connection.
func reasonOf(err error, otherwise reason) reason {
	switch {
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return byReset
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return byLoss
	}
	return otherwise
}
