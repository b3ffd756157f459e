package daemon

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/framing"
)

// talk serves a client by a goroutine: it looks at what the client says, cuts it into messages, records them, and only then
// takes them from the socket. Until then they are in the kernel's keeping, which outlives ours.
type talk struct {
	*session
	stream
	fd        uintptr // the connection, for the session's goroutine, which alone closes it
	framing   framing.Framer
	heard     time.Time // when the client last sent something
	greeted   atomic.Bool
	begun     time.Time   // when the first byte of the message came that is under way; zero: none is
	deadline  time.Time   // the read deadline that is set; zero: none
	waiting   int         // bytes at the head of the socket that were seen and are no whole message yet
	between   bool        // they are none of a message, but stand before the next
	lowat     int         // SO_RCVLOWAT of the socket; 0: never set
	moved     []byte      // the beginning of a message too long to wait in the kernel for its end; nil when there is none
	held      int         // how much of the server's memory for partial messages that takes
	pressed   atomic.Bool // it takes too much of it
	malformed error       // not nil: the client does not keep to the framing
	relay     *relay      // hands on what is recorded; nil: to nobody
	ack       *ackState   // nil: none are sent
	ws        *workspace  // what a look shows, until it is taken; nil while there is nothing: a client that waits holds none
	onRead    func(uintptr) bool
}

// newTalk makes a talk whose goroutine sleeps in Go's poller.
func newTalk(s *session, fd int) (*talk, error) {
	st, err := newPolled(fd)
	if err != nil {
		return nil, err
	}
	return talkOver(s, st, fd), nil
}

func talkOver(s *session, st stream, fd int) *talk {
	t := &talk{session: s, stream: st, fd: uintptr(fd), framing: s.settings.framing.New()}
	t.onRead = t.look
	return t
}

// A client that waits keeps the stack that its goroutine needs for this, and what it has once grown to stays. So the functions on the
// way from here to the wait, and to the sink, are each small: TestAnIdleClientCostsLittle.

// serve implements model: it greets, then records message after message.
func (t *talk) serve() (reason, error) {
	if why, err := t.begin(t.greetFirst()); why != "" {
		return why, err
	}
	return t.converse()
}

// greetFirst greets the client; from then on drain tells it, and it is acknowledged.
func (t *talk) greetFirst() error {
	err := t.greet()
	if form := t.settings.ack; form.text != "" {
		t.ack = &ackState{form: form.bind(t.session), pieces: t.past.pieces}
	}
	t.greeted.Store(true)
	if t.finishing.Load() { // drain tells only who has been greeted by then
		t.drain()
	}
	return err
}

// begin records that the session begins, with a client that took its greeting or did not. A reason is that it ends already.
func (t *talk) begin(greeting error) (reason, error) {
	if err := t.open(); err != nil {
		return bySink, err
	}
	if greeting != nil {
		return t.deafTo(greeting, byBanner)
	}
	return "", nil
}

// converse records message after message, until there is a reason to end.
func (t *talk) converse() (why reason, err error) {
	t.resume()
	for why == "" {
		why, err = t.listen()
	}
	t.server.partials.hold(t, 0)
	return why, err
}

// resume has the session listen where the process before has left it, if there was one.
func (t *talk) resume() {
	t.heard = time.Now() // the silence until here was ours
	if !t.past.heard.IsZero() {
		t.heard = t.past.heard
	}
	t.framing.Recall(t.past.framing)
	if t.moved = t.past.moved; len(t.moved) > 0 {
		t.past.moved = nil
		t.server.partials.hold(t, cap(t.moved))
		t.begun = t.heard
	}
	t.setDeadline()
}

// listen waits for what comes next, and sees to it. A reason is that the session ends.
func (t *talk) listen() (reason, error) {
	if err := t.read(t.onRead); err != nil {
		return t.interrupted(err)
	}
	if t.ws.n == 0 || t.ws.full {
		return t.hearLast()
	}
	if err := t.take(framing.EOF); err != nil {
		return bySink, err
	}
	if t.deaf() != nil || t.malformed != nil {
		return t.giveUp()
	}
	t.sayNoMore()
	return "", nil
}

// interrupted sees to a wait that has ended with an error.
func (t *talk) interrupted(err error) (reason, error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return t.finish(reasonOf(err, byError), err)
	}
	if why := t.woken(); why != "" {
		return why, nil
	}
	if t.deaf() != nil {
		return t.unheard()
	}
	return "", nil
}

// unread is how many bytes have arrived and were not taken from the socket.
func (t *talk) unread() int { return unread(t.fd) }

// drain tells the client that we will say no more, once it has been greeted and is due no acknowledgement.
func (t *talk) drain() {
	switch {
	case !t.greeted.Load(): // serve does it then
	case t.acks():
		t.wake() // it says no more once there is nothing to acknowledge
	default:
		t.halfClose()
	}
}

// halfClose tells the client that we will say no more.
func (t *talk) halfClose() {
	t.control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }) // a peer that has gone need not be told
}

// handOver has listen find that the session is leaving.
func (t *talk) handOver() { t.wake() }

// nudge has listen work its deadline out anew.
func (t *talk) nudge() { t.wake() }
