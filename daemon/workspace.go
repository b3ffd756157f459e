package daemon

import (
	"context"
	"sync"
	"time"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
)

const (
	// readSize is how much is looked at at once.
	readSize = 64 << 10
	// outSize is how much output a session gathers before it hands it to the sink.
	outSize = 128 << 10
	// maxWorkspaces bounds how many clients are read at the same time, and so the memory that a sink which stands still
	// can tie up: the other clients wait without a buffer, and the kernel keeps what they send.
	maxWorkspaces = 32
)

// workspace is what a session needs between looking at bytes and handing records to the sink. It is one session's while it is lent,
// and only buffers and the encoder outlast that.
type workspace struct {
	sight                   // of in
	in      []byte          // what a look copies from the socket, sight.n bytes of it
	out     []byte          // encoded records, which the sink has not been given yet
	parcel  []byte          // what a session's process has sent, in place of in
	framed  framing.Message // what next has cut, and encode makes a record
	message record.Message  // the same, as the encoder takes it
	now     time.Time       // when what is seen came
	encoder encoder         // of the format in force
}

// encoder appends what there is to be said of a session, for the sink that goes with it: record.Encoder's promises.
type encoder interface {
	Begin(src *record.Source, now time.Time)
	Open(dst []byte) []byte
	Message(dst []byte, m *record.Message) []byte
	Close(dst []byte, reason string, records, bytes int64) []byte
}

// workspaces lends workspaces to sessions, maxWorkspaces at most; who comes then waits.
type workspaces struct {
	encoder func() encoder // changed while none is lent
	places  chan struct{}  // one for each that may still be lent

	mu   sync.Mutex
	free []*workspace // those that were used before; what the last has is in the processor's cache still, so it is lent first
}

func newWorkspaces(encoder func() encoder) *workspaces {
	w := &workspaces{encoder: encoder, places: make(chan struct{}, maxWorkspaces)}
	for range maxWorkspaces {
		w.places <- struct{}{}
	}
	return w
}

// get returns a workspace, its output empty. It waits while all are lent.
func (w *workspaces) get() *workspace {
	<-w.places
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.free) - 1
	if last < 0 {
		return &workspace{in: make([]byte, readSize), encoder: w.encoder()}
	}
	ws := w.free[last]
	w.free = w.free[:last]
	return ws
}

// pause waits until no workspace is lent, so that no session is between encoding and handing over, and keeps it so until
// resume is called; a session that waits meanwhile goes on with the format that pause's caller has set. It returns nil and
// changes nothing when ctx is done first: a sink that stands still can hold workspaces for long.
func (w *workspaces) pause(ctx context.Context) (resume func()) {
	held := 0
	back := func() {
		for range held {
			w.places <- struct{}{}
		}
	}
	for ; held < maxWorkspaces; held++ {
		select {
		case <-w.places:
		case <-ctx.Done():
			back()
			return nil
		}
	}
	return func() {
		for _, ws := range w.free { // all that there are
			ws.encoder = w.encoder()
		}
		back()
	}
}

// put takes a workspace back. What it had grown to for an unusual client is let go.
func (w *workspaces) put(ws *workspace) {
	ws.sight = sight{}
	ws.framed, ws.message.Raw = framing.Message{}, nil // they may be of what had been moved
	ws.out = ws.out[:0]
	if cap(ws.out) > 2*outSize {
		ws.out = nil
	}
	if cap(ws.parcel) > 2*outSize {
		ws.parcel = nil
	}
	w.mu.Lock()
	w.free = append(w.free, ws)
	w.mu.Unlock()
	w.places <- struct{}{}
}
