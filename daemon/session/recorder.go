package session

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"tcpmux/daemon/framing"
)

// Recorder is the service that records what the client sends: it looks at what has arrived, cuts it
// into messages, has them written, and only then removes them from the socket. Until then they are
// in the kernel's keeping, which outlives ours.
type Recorder struct {
	s      *Session
	framer framing.Framer
	// What a peek shows, until it is taken; nil while a client waits: it holds none.
	buf    *Buffer
	onRead func() bool
	clock
	partial
	malformed error     // not nil: the client does not keep to the framing
	relay     *Relay    // hands on what is recorded; nil: to nobody
	echo      *echo     // sends back what is recorded; nil: nothing is
	ack       *ackState // nil: no acknowledgements are sent
	between   bool      // what waits is none of a message, but stands before the next
	draining  bool      // the client is to be told that nothing more will be sent to it
	farewell  bool      // and it was
}

// clock is what the bounds of a session are measured from.
type clock struct {
	heard instant // when the client last sent something
	// When the first byte of the message came that is under way; 0: none is.
	begun    instant
	deadline instant // the read deadline that is set; 0: none
}

// instant is a time of this process: how long after loaded it is. It takes a third of what a
// time.Time does, and is not for records, as it does not follow the clock when that is set. 0 is
// the zero time.
type instant time.Duration

// instantOf is not inlined: its callers are on the way of what is consumed, and each has a small
// frame on the stack.
//
//go:noinline
func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.Sub(loaded))
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return loaded.Add(time.Duration(i))
}

// partial is the beginning of a message that has not come whole: it waits in the socket, or is
// moved.
type partial struct {
	// Bytes at the head of the socket that were seen and are no whole message yet.
	waiting int
	// What is too long to wait in the kernel for its end; nil when nothing is.
	moved   []byte
	spilled int         // how much of Env.Spill that takes
	pressed atomic.Bool // it takes too much of it
	lowat   int32       // the socket's low water; 0: never set
}

// Record returns the service that records, as Settings.Service wants it.
func Record(s *Session) (Service, error) { return NewRecorder(s), nil }

// NewRecorder returns the service that records what the session's client sends.
func NewRecorder(s *Session) *Recorder {
	r := &Recorder{s: s, framer: s.Settings.Framing.New()}
	r.onRead = r.peek
	return r
}

// A client that waits keeps the stack that its goroutine needs for this, and what it has once grown
// to stays. So the functions on the way from here to the wait, and to the sink, are each small:
// TestAnIdleClientCostsLittle.

// Serve implements Service: it greets, then records message after message.
func (r *Recorder) Serve() (Reason, error) {
	if why, err := r.Begin(r.greetFirst()); why != "" {
		return why, err
	}
	return r.Record()
}

// greetFirst greets the client; from then on it is acknowledged.
func (r *Recorder) greetFirst() error {
	err := r.Greet()
	if form := r.s.Settings.Ack; !form.Empty() {
		r.ack = &ackState{form: form.Bind(r.s), pieces: r.s.Resume.Pieces}
	}
	return err
}

// Greet sends the greeting. It almost always fits the kernel's buffer at once; otherwise the client
// has Env.BannerTimeout to read it.
func (r *Recorder) Greet() error {
	if text := r.s.Greeting(); len(text) > 0 {
		return r.write(text, r.s.Env.BannerTimeout)
	}
	return nil
}

// Begin records that the session begins, with a client that took its greeting or did not. A reason
// is that it ends already.
func (r *Recorder) Begin(greeting error) (Reason, error) {
	if err := r.s.Open(); err != nil {
		return BySink, err
	}
	if greeting != nil {
		return r.endUnheard(greeting, ByBanner)
	}
	return "", nil
}

// resume goes on where the previous process has left the session, if there was one.
func (r *Recorder) resume() {
	prev := r.s.Resume
	r.heard = instantOf(time.Now()) // the silence until here was ours
	if !prev.Heard.IsZero() {
		r.heard = instantOf(prev.Heard)
	}
	r.framer.Recall(prev.Framing)
	if r.moved = prev.Moved; len(r.moved) > 0 {
		prev.Moved = nil
		r.s.SetPartial(len(r.moved))
		r.s.Env.Spill.hold(r, cap(r.moved))
		r.begun = r.heard
	}
	r.setDeadline()
	r.halfClose()
}

// interrupted handles a wait that has ended with an error.
func (r *Recorder) interrupted(err error) (Reason, error) {
	if r.s.behind != nil {
		r.s.behind = nil // other peeks follow
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return r.finish(ReasonOf(err, ByError), err)
	}
	if why := r.woken(); why != "" {
		return why, nil
	}
	if r.unheard() {
		return r.giveUp()
	}
	return "", nil
}

// Changed implements Service.
func (r *Recorder) Changed() {
	if p := r.s.Phase(); p == Over || p == Leaving && r.echo != nil {
		r.s.Conn.Expire()
		return
	}
	r.s.Conn.Wake()
}

// halfClose tells a client that is to finish that nothing more will be sent to it, once it has
// every acknowledgement that it is due: what it sends then is recorded and not acknowledged. Where
// a program serves it, that alone speaks.
func (r *Recorder) halfClose() {
	r.draining = r.s.Phase() == Draining && r.relay == nil && !r.farewell
	if !r.draining || (r.ack != nil || r.echo != nil) && r.s.Conn.Unread() > r.waiting {
		return
	}
	r.draining, r.farewell = false, true
	r.s.Conn.CloseWrite()
}

// write sends text: at once what fits the kernel's buffer, and the rest as the client takes it,
// within the timeout; 0 is no timeout.
func (r *Recorder) write(text []byte, timeout time.Duration) error {
	n, err := r.s.Conn.TryWrite(text)
	if err != nil || n == len(text) {
		return err
	}
	return r.writeSlowly(text[n:], timeout)
}

func (r *Recorder) writeSlowly(text []byte, timeout time.Duration) error {
	var by time.Time // never
	if timeout > 0 {
		by = time.Now().Add(timeout)
	}
	r.s.Conn.SetWriteDeadline(by)
	if r.s.Await(ForAck); r.ack == nil {
		r.s.Await(ForGreeted)
	}
	err := r.s.Conn.Write(text)
	r.s.Await(ForClient)
	return err
}
