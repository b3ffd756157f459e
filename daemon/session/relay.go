package session

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Relay hands on to a program, by a pipe, or to an upstream what its client sends, once that is
// recorded. One that is slow to read makes its client wait: the bytes stay in the kernel.
type Relay struct {
	pipe   io.WriteCloser
	due    int         // bytes that are to be handed on once they are written
	kept   []byte      // these, if the socket will have them no longer
	closed bool        // the program reads no more; its client is recorded all the same
	gone   atomic.Bool // the program has ended
	// answered is when the client was last sent something, in nanoseconds since loaded: a
	// client that listens is not idle. 0 is that nobody says.
	answered atomic.Int64
}

// relayBuffers are what bytes are carried in from socket to pipe.
var relayBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// Relay has what is recorded from now on handed on by pipe, whose Write waits until all is taken.
// It is called before Record.
func (r *Recorder) Relay(pipe io.WriteCloser) *Relay {
	r.relay = &Relay{pipe: pipe}
	return r.relay
}

// owe notes what is to be handed on once it is written. moved tells that the socket will not have
// it any longer.
func (r *Relay) owe(data []byte, moved bool) {
	if r.due, r.kept = len(data), nil; moved {
		r.kept = slices.Clone(data)
	}
}

// handOn hands on what is due. It returns how many bytes it has taken from the socket, once the
// program has room for more.
func (r *Recorder) handOn() (took int) {
	r.s.Await(ForProgram)
	defer r.s.Await(ForClient)
	if r.relay.kept != nil {
		r.relay.write(r.relay.kept)
		return 0
	}
	buf := relayBuffers.Get().(*[4 << 10]byte)
	defer relayBuffers.Put(buf)
	for took < r.relay.due && !r.relay.closed {
		n, err := r.s.Conn.Take(buf[:min(r.relay.due-took, len(buf))])
		if err != nil || n <= 0 {
			break // the next peek tells
		}
		took += n
		r.relay.write(buf[:n])
	}
	return took
}

// write waits until the program has room for b, or reads no more.
func (r *Relay) write(b []byte) {
	if !r.closed {
		_, err := r.pipe.Write(b)
		r.closed = err != nil
	}
}

// Answered notes that the client was sent something. It may be called from any goroutine.
func (r *Relay) Answered(now time.Time) { r.answered.Store(int64(now.Sub(loaded))) }

// latest returns when the client has sent or was sent something, if it has sent something at heard.
func (r *Relay) latest(heard time.Time) time.Time {
	if r == nil || r.answered.Load() == 0 {
		return heard
	}
	if at := loaded.Add(time.Duration(r.answered.Load())); at.After(heard) {
		return at
	}
	return heard
}

// End tells that the program has ended: the session ends, and nobody waits for the program any
// more. It may be called from any goroutine; the recorder notices after Changed.
func (r *Relay) End() {
	r.gone.Store(true)
	_ = r.pipe.Close() // nobody reads it; it may be closed already
}
