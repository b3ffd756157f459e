package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/state"
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

// moveSize is how long the beginning of a message may be to wait in the kernel for its end. It is far below the least receive
// buffer that there is by default (tcp(7), tcp_rmem), and bounds what is seen again with each piece of a message.
const moveSize = 16 << 10

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
		t.ack = &ackState{form: form.bind(t.session)}
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

// hearLast sees to a look that shows the end: of the stream, of what a session may send, or by an error.
func (t *talk) hearLast() (reason, error) {
	if t.ws.full {
		if err := t.take(framing.Timeout); err != nil {
			return bySink, err
		}
		return byVolume, t.malformed
	}
	err := t.ws.err
	t.letGo()
	if err != nil {
		err = os.NewSyscallError("recv", err)
		return t.finish(reasonOf(err, byError), err)
	}
	return t.finish(byEOF, nil)
}

// giveUp ends a session whose client does not take its acknowledgements, or does not keep to the framing.
func (t *talk) giveUp() (reason, error) {
	if t.deaf() != nil {
		return t.unheard()
	}
	return t.lastWords(byMalformed, framing.Malformed), t.malformed
}

// deafTo ends a session whose client did not take what it was sent; what it has said by now is recorded all the same. why is the
// reason unless the client has gone.
func (t *talk) deafTo(err error, why reason) (reason, error) {
	flag := framing.Timeout
	if gone := reasonOf(err, why); gone != why {
		why, flag = gone, framing.EOF
	}
	return t.lastWords(why, flag), err
}

// take records the messages that are seen, and then takes them from the socket. What is no whole message yet waits there, or is
// recorded with flag when no more will come.
func (t *talk) take(flag framing.Flag) error {
	first := t.records
	fresh, done, err := t.record(flag)
	if err != nil {
		t.letGo()
		return t.fail(first, err)
	}
	if err := t.hand(first); err != nil {
		return err
	}
	t.consume(done, t.records > first, fresh)
	return nil
}

// record makes records, which hand is to have written, of the messages that are seen. It returns whether anything has come since the
// process before, and how many bytes the socket will be done with.
func (t *talk) record(flag framing.Flag) (fresh bool, done int, err error) {
	first := t.records
	t.start()
	t.slot.SetBusy(true)
	n, err := t.cut(flag)
	t.slot.SetBusy(false)
	if err != nil {
		return false, 0, err
	}
	if fresh = t.records > first || t.ws.n > t.past.unread; fresh { // else the silence goes on
		t.heard = t.ws.now
	}
	return fresh, t.recorded(n), nil
}

// start has what is seen be the end of what there is, and the records that are made of it show this moment.
func (t *talk) start() {
	t.ws.now = time.Now()
	t.ws.encoder.Begin(&t.source, t.ws.now)
	if len(t.moved) > 0 {
		t.moved = append(t.moved, t.ws.in[:t.ws.n]...)
	}
}

// data is what there is of the stream from the first message on that is not recorded.
func (t *talk) data() []byte {
	if len(t.moved) > 0 {
		return t.moved
	}
	return t.ws.in[:t.ws.n]
}

// recorded sees to what there is, of which n bytes are in records, and returns how many the socket will be done with.
func (t *talk) recorded(n int) (done int) {
	data := t.data()
	if t.relay != nil {
		t.relay.owe(data[:n], len(t.moved) > 0)
	}
	done = t.keep(data[n:])
	if t.past.unread > 0 {
		t.past.unread = max(t.past.unread-done, 0)
	}
	return done
}

// consume takes from the socket what is written. more says that there are messages among it, fresh what record does.
func (t *talk) consume(done int, more, fresh bool) {
	t.acknowledge() // before they leave the kernel: a client that outlives us is acknowledged rather twice than never
	t.note(more)
	if t.relay != nil {
		done -= t.handOn()
	}
	_ = discard(t.fd, done) // the next look tells
	t.expect(t.waiting + 1)
	if fresh && !t.deadline.IsZero() {
		t.heard = time.Now() // while the sink had us wait, the silence was ours
	}
	switch {
	case t.waiting+len(t.moved) == 0:
		t.begun = time.Time{}
	case more || t.begun.IsZero():
		t.begun = t.heard
		t.hasten()
	}
}

// note keeps, where a crash of ours does not reach it, how far the session has come, if it has, and then what is about to leave the
// kernel: who finds the first without the second knows that the kernel still has it.
func (t *talk) note(more bool) {
	switch {
	case t.server.notes != nil:
		t.server.notes.take(t.tally(), t.acks() && more, t.moved)
		return
	case more:
		t.slot.Count(t.tally())
	}
	t.slot.Shelve(t.offset, t.moved)
}

// noted says whether the beginning of a message that is out of the kernel is kept beyond our end.
func (t *talk) noted() bool {
	if t.server.notes != nil {
		return t.server.notes.keep(t.offset, len(t.moved))
	}
	return t.slot.Shelved(t.offset, len(t.moved))
}

// tally is how far the session has come.
func (t *talk) tally() state.Tally {
	return state.Tally{Offset: t.offset, Records: t.records, Framing: t.framing.Memory()}
}

// cut encodes the messages that there are and returns how many bytes they are. Output that has become long goes to the sink.
func (t *talk) cut(flag framing.Flag) (n int, err error) {
	for t.next(n, flag) {
		n += t.ws.framed.Len()
		t.encode()
		if len(t.ws.out) >= outSize {
			if err := t.gather(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// next makes the first message behind n bytes what is encoded next; it says false when there is none.
func (t *talk) next(n int, flag framing.Flag) bool {
	ws, data := t.ws, t.data()[n:]
	if !ws.ended {
		ws.framed = t.framing.Next(data)
		ws.ended = ws.framed.Len() == 0 && ws.last
	}
	switch {
	case ws.ended:
		ws.framed = t.framing.Rest(data, flag)
	case ws.framed.Len() == 0 && len(data) > minPiece && !t.fits(data):
		ws.framed = t.framing.Part(data[:len(data)-1]) // a byte is left to say how the message ended
	}
	return ws.framed.Len() > 0
}

// gather gives the sink what is encoded so far.
func (t *talk) gather() error {
	_, err := t.server.sink.Gather(t.ws.out)
	t.ws.out = t.ws.out[:0]
	return err
}

// keep sees to rest, the end of what is seen, and returns how many bytes the socket is done with. rest waits in the socket, but
// for what has been moved before, is long, or is in the way.
func (t *talk) keep(rest []byte) (done int) {
	saw := t.ws.n
	switch {
	case t.stays(rest):
		t.moved, t.waiting, done = nil, len(rest), saw-len(rest)
	case len(rest) == len(t.moved): // it is there already
		t.waiting, done = 0, saw
	case len(rest) < cap(t.moved)/2:
		t.moved, t.waiting, done = slices.Clone(rest), 0, saw
	default:
		t.moved, t.waiting, done = append(t.moved[:0], rest...), 0, saw
	}
	t.server.partials.hold(t, cap(t.moved))
	return done
}

// stays says whether rest may wait in the socket, where all of it still is.
func (t *talk) stays(rest []byte) bool {
	return len(rest) <= min(t.ws.n, moveSize) && !t.ws.move
}

// encode appends one message to the workspace's output.
func (t *talk) encode() {
	m, to := &t.ws.framed, &t.ws.message
	crashOn(m.Data())
	if m.Flag == framing.Malformed {
		t.complain()
	}
	to.Offset, to.Raw, to.HeadLen, to.EndLen, to.Flag = t.offset, m.Raw, int(m.HeadLen), int(m.EndLen), m.Flag.String()
	t.message(t.ws)
	if t.acks() {
		t.owe(m)
	}
	t.offset += int64(m.Len())
}

// complain notes that the client does not keep to the framing.
func (t *talk) complain() {
	if t.malformed == nil {
		t.malformed = fmt.Errorf("no %s message begins at byte %d", t.settings.framing.Kind, t.offset)
	}
}

// finish records what was moved out of a socket that has nothing more to give. why stays the reason unless the sink fails.
func (t *talk) finish(why reason, err error) (reason, error) {
	if len(t.moved) == 0 {
		return why, err
	}
	t.borrow().last = true
	if err := t.take(framing.EOF); err != nil {
		return bySink, err
	}
	return why, err
}

// over says whether it is time to end: that to finish is over, or there is no program left to talk to.
func (t *talk) over() bool {
	return t.overdue.Load() || t.relay != nil && t.relay.gone.Load()
}

// lastWords records what has arrived by now, and no more, when the time to finish is over: with flag what is no whole message.
// It returns why, unless the sink fails.
func (t *talk) lastWords(why reason, flag framing.Flag) reason {
	for left := t.room(t.unread()); left > 0 || len(t.moved) > 0; {
		ws := t.borrow()
		n, _ := peek(t.fd, ws.in)
		n = min(max(n, 0), left)
		left -= n
		ws.n, ws.move, ws.last = n, true, n == 0 || left == 0
		last := ws.last
		if err := t.take(flag); err != nil {
			return bySink
		}
		if last {
			break
		}
	}
	return why
}

// unread is how many bytes have arrived and were not taken from the socket.
func (t *talk) unread() int { return unread(t.fd) }

// drain implements model.
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

// handOver implements model.
func (t *talk) handOver() { t.wake() }

// depart leaves the client to the next process. The beginning of a message that is out of the kernel is on the shelf, or would be lost
// with us: then it is recorded as a piece.
func (t *talk) depart() reason {
	if len(t.moved) > 0 && !t.noted() {
		first := t.records
		t.borrow()
		t.start()
		for len(t.moved) > 0 {
			t.ws.framed = t.framing.Part(t.moved)
			t.moved = t.moved[t.ws.framed.Len():]
			t.encode()
		}
		if err := t.hand(first); err != nil {
			return bySink
		}
		t.slot.Count(t.tally())
	}
	t.past = &past{framing: t.framing.Memory()}
	return byLeave
}

// nudge implements model.
func (t *talk) nudge() { t.wake() }
