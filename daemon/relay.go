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
	deaf bool        // the program reads no more; its client is recorded all the same
	gone atomic.Bool // the program has ended
}

// relayBuffers are what bytes are carried in from socket to pipe.
var relayBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// keepRecorded returns a copy of what is recorded and will be out of the socket by the time that it is: of messages that have
// been moved. nil when it can be had from the socket.
func (t *talk) keepRecorded(recorded []byte) []byte {
	if t.relay == nil || len(t.moved) == 0 {
		return nil
	}
	return slices.Clone(recorded)
}

// handOn hands on n bytes that are recorded: those that were kept, or the next of the socket. It returns how many it has
// taken from the socket, and when the program has room for more.
func (t *talk) handOn(kept []byte, n int) (took int) {
	switch {
	case t.relay == nil:
		return 0
	case kept != nil:
		t.relay.write(kept)
		return 0
	}
	buf := relayBuffers.Get().(*[4 << 10]byte)
	defer relayBuffers.Put(buf)
	for took < n && !t.relay.deaf {
		m, err := 0, error(nil)
		t.control(func(fd uintptr) { m, err = recv(fd, unsafe.Pointer(buf), min(n-took, len(buf)), 0) })
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
