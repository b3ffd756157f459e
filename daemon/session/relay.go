package session

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Relay hands on to a program, by a pipe, what its client sends, once that is recorded. A program
// that is slow to read makes its client wait: the bytes stay in the kernel.
type Relay struct {
	pipe   *os.File
	due    int         // bytes that are to be handed on once they are written
	kept   []byte      // these, if the socket will have them no longer
	closed bool        // the program reads no more; its client is recorded all the same
	gone   atomic.Bool // the program has ended
}

// relayBuffers are what bytes are carried in from socket to pipe.
var relayBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// Relay has what is recorded from now on handed on to a program, by pipe. It is called before
// Record.
func (r *Recorder) Relay(pipe *os.File) *Relay {
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

// End tells that the program has ended: the session ends, and nobody waits for the program any
// more. It may be called from any goroutine; the recorder notices after Changed.
func (r *Relay) End() {
	r.gone.Store(true)
	_ = r.pipe.Close() // nobody reads it; it may be closed already
}
