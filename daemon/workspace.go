package daemon

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
)

const (
	// readSize is how much is read at once.
	readSize = 64 << 10
	// headroom is how long a rest may be to be put in front of the next read; a longer one grows on its own.
	headroom = 4 << 10
	// outSize is how much output a session gathers before it hands it to the sink.
	outSize = 128 << 10
	// maxWorkspaces bounds how many clients are read at the same time, and so the memory that a sink which stands still
	// can tie up: the other clients wait without a buffer, and the kernel keeps what they send.
	maxWorkspaces = 32
	// restSize is how long a rest may be to be kept in a buffer that is used again.
	restSize = 1 << 10
)

// workspace is what a session needs between reading bytes and handing records to the sink.
type workspace struct {
	in      []byte // headroom, then what is read
	out     []byte // encoded records
	parcel  []byte // what a session's process has sent
	encoder encoder
}

// read reads once from a descriptor that does not block, behind the headroom.
func (ws *workspace) read(fd int) (int, error) {
	for {
		n, err := unix.Read(fd, ws.in[headroom:])
		if err != unix.EINTR {
			return n, err
		}
	}
}

// encoder appends what there is to be said of a session, for the sink that goes with it: record.Encoder's promises.
type encoder interface {
	Begin(src *record.Source, now time.Time)
	Open(dst []byte) []byte
	Message(dst []byte, m record.Message) []byte
	Close(dst []byte, reason string, records, bytes int64) []byte
}

// join returns the rest of earlier reads and the n bytes that were read into the workspace as one. A long rest grows where it
// is, so that a message which dribbles in is not copied for each piece.
func (ws *workspace) join(rest []byte, n int) []byte {
	read := ws.in[headroom : headroom+n]
	switch {
	case len(rest) == 0:
		return read
	case len(rest) <= headroom:
		start := headroom - len(rest)
		copy(ws.in[start:], rest)
		return ws.in[start : headroom+n]
	}
	return append(rest, read...)
}

// workspaces lends workspaces to sessions, maxWorkspaces at most; who comes then waits. It also keeps the buffers for short
// rests, which are many when clients send in small pieces.
type workspaces struct {
	encoder func() encoder  // changed while none is lent
	free    chan *workspace // those that were used before
	unmade  chan struct{}   // one for each that may still be made
	rests   sync.Pool
}

func newWorkspaces(encoder func() encoder) *workspaces {
	w := &workspaces{encoder: encoder, free: make(chan *workspace, maxWorkspaces), unmade: make(chan struct{}, maxWorkspaces)}
	for range maxWorkspaces {
		w.unmade <- struct{}{}
	}
	w.rests.New = func() any { return new([restSize]byte) }
	return w
}

// get returns a workspace, its output empty. It waits while all are lent.
func (w *workspaces) get() *workspace {
	select {
	case ws := <-w.free:
		return ws
	default:
	}
	select {
	case ws := <-w.free:
		return ws
	case <-w.unmade:
		return &workspace{in: make([]byte, headroom+readSize), encoder: w.encoder()}
	}
}

// pause waits until no workspace is lent, so that no session is between encoding and handing over, and keeps it so until
// resume is called; a session that waits meanwhile goes on with the format that pause's caller has set. It returns nil and
// changes nothing when ctx is done first: a sink that stands still can hold workspaces for long.
func (w *workspaces) pause(ctx context.Context) (resume func()) {
	var held []*workspace
	unmade := 0
	resume = func() {
		for _, ws := range held {
			ws.encoder = w.encoder()
			w.free <- ws
		}
		for range unmade {
			w.unmade <- struct{}{}
		}
	}
	for len(held)+unmade < maxWorkspaces {
		select {
		case ws := <-w.free:
			held = append(held, ws)
		case <-w.unmade:
			unmade++
		case <-ctx.Done():
			resume()
			return nil
		}
	}
	return resume
}

// put takes a workspace back. What it had grown to for an unusual client is let go.
func (w *workspaces) put(ws *workspace) {
	ws.out = ws.out[:0]
	if cap(ws.out) > 2*outSize {
		ws.out = nil
	}
	if cap(ws.parcel) > 2*outSize {
		ws.parcel = nil
	}
	w.free <- ws
}

// keep returns data in a buffer that is the session's, in place of old: nil when data is empty, so that a client between
// messages holds nothing. data may be part of old, or of what join made of it.
func (w *workspaces) keep(old, data []byte) []byte {
	switch {
	case len(old) > headroom && len(data) > restSize:
		return data // join has grown old, and data is part of that
	case len(data) > 0 && len(data) <= cap(old) && (cap(old) == restSize || len(data) > restSize):
		return append(old[:0], data...)
	}
	if cap(old) == restSize {
		defer w.rests.Put((*[restSize]byte)(old[:restSize]))
	}
	switch {
	case len(data) == 0:
		return nil
	case len(data) <= restSize:
		return append(w.rests.Get().(*[restSize]byte)[:0], data...)
	}
	return append(make([]byte, 0, 2*len(data)), data...)
}
