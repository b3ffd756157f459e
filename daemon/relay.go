package daemon

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// relay hands on to a program, by a pipe, what its client says, once that is recorded. A program that is slow to read makes its
// client wait: the bytes stay in the kernel.
type relay struct {
	pipe *os.File
	due  int         // bytes that are to be handed on once they are written
	kept []byte      // these, if the socket will have them no longer
	deaf bool        // the program reads no more; its client is recorded all the same
	gone atomic.Bool // the program has ended
}

// relayBuffers are what bytes are carried in from socket to pipe.
var relayBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// owe notes what is to be handed on once it is written. moved says that the socket will not have it any longer.
func (r *relay) owe(data []byte, moved bool) {
	if r.due, r.kept = len(data), nil; moved {
		r.kept = slices.Clone(data)
	}
}

// handOn hands on what is due. It returns how many bytes it has taken from the socket, and when the program has room for more.
func (t *talk) handOn() (took int) {
	if t.relay.kept != nil {
		t.relay.write(t.relay.kept)
		return 0
	}
	buf := relayBuffers.Get().(*[4 << 10]byte)
	defer relayBuffers.Put(buf)
	for took < t.relay.due && !t.relay.deaf {
		m, err := recv(t.fd, unsafe.Pointer(buf), min(t.relay.due-took, len(buf)), 0)
		if err != nil || m <= 0 {
			break // the next look tells
		}
		took += m
		t.relay.write(buf[:m])
	}
	return took
}

// write waits until the program has room for b, or reads no more.
func (r *relay) write(b []byte) {
	if !r.deaf {
		_, err := r.pipe.Write(b)
		r.deaf = err != nil
	}
}

// end tells that the program has ended: nobody waits for it any more.
func (r *relay) end() {
	r.gone.Store(true)
	_ = r.pipe.Close() // nobody reads it; it may be closed already
}
