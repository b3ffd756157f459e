package session

import (
	"context"
	"sync"
	"time"

	"tcpmux/daemon/counts"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
	"tcpmux/daemon/tap"
)

const (
	// readSize is how much is looked at at a time. Each look at a fast client costs two system
	// calls and a segment to the client that acknowledges what is recorded.
	readSize = 256 << 10
	// passSize is how much of a client whose bytes go on to somebody else, who takes them when
	// it will.
	passSize = 64 << 10
	// BatchSize is about how much a session gathers before it hands that to the sink: what it
	// has encoded before the last message of a batch is less.
	BatchSize = 128 << 10
	// maxBuffers bounds how many clients are read at the same time, and so the memory that a
	// sink which stands still can tie up: the other clients wait without a buffer, and the
	// kernel keeps what they send.
	maxBuffers = 32
)

// Buffer is what a session needs between looking at bytes and handing records to the sink. It is
// one session's while it is lent, and only its memory and the encoder outlast that.
type Buffer struct {
	// Frame is for what a session's process has sent, in place of what a peek copies.
	Frame []byte
	// Message is what the session's Add encodes.
	Message record.Message

	peekResult                 // of in
	in         []byte          // what a peek copies from the socket, peekResult.n bytes of it
	out        []byte          // encoded records, which the sink has not been given yet
	framed     framing.Message // what nextMessage has cut
	now        time.Time       // when what is seen came
	opens      bool            // the record of the session's opening is among out
	encoder    Encoder         // of the format in force
	sizes      counts.Sizes    // of the messages that are encoded
	tapped     *tap.Lines      // what of them is not among out any more, for those who listen
}

// peekResult is what a peek at the socket shows, and what that asks of take. The zero value shows
// nothing.
type peekResult struct {
	n    int   // how many bytes are seen
	err  error // why none could be
	full bool  // they are the last that the session may send (max_session_bytes)
	last bool  // no more will come than is seen
	// move has the beginning of a message, at the end of what is seen, leave the kernel:
	// nothing shows behind it otherwise.
	move   bool
	cut    bool // and it may not be held in our memory: it is recorded as a piece
	silent bool // nothing has come for so long that it ends the message (framing.Silence)
	// rest tells that nextMessage has found the last whole message of a stream that ends: what
	// is left is the framer's Rest.
	rest bool
}

// Encoder appends what there is to be said of a session, for the sink that goes with it. Its
// promises are those of record.Encoder.
type Encoder interface {
	Begin(src *record.Source, now time.Time)
	Open(dst []byte) []byte
	Message(dst []byte, m *record.Message) []byte
	Close(dst []byte, reason string, records, bytes int64) []byte
}

// Buffers lends buffers to sessions, maxBuffers at most; others wait. Safe for concurrent use.
type Buffers struct {
	places chan struct{} // one for each that may still be lent

	mu      sync.Mutex
	encoder func() Encoder // changed only while none is lent
	// The last one's memory is still in the processor's cache, so it is lent first.
	free []*Buffer
}

// NewBuffers returns buffers whose encoders are made by encoder.
func NewBuffers(encoder func() Encoder) *Buffers {
	b := &Buffers{encoder: encoder, places: make(chan struct{}, maxBuffers)}
	for range maxBuffers {
		b.places <- struct{}{}
	}
	return b
}

// Get returns a buffer, its output empty. It waits while all are lent.
func (p *Buffers) Get() *Buffer {
	<-p.places
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.free) - 1
	if last < 0 {
		return &Buffer{in: make([]byte, readSize), encoder: p.encoder()}
	}
	b := p.free[last]
	p.free = p.free[:last]
	return b
}

// exhausted reports whether all that may be lent are.
func (p *Buffers) exhausted() bool { return len(p.places) == 0 }

// Pause waits until no buffer is lent, so that no session is between encoding and handing over, and
// keeps it so until resume is called. Sessions that wait meanwhile go on with the encoders that
// SetEncoder has set. It returns nil and changes nothing when ctx is done first: a sink that stands
// still can hold buffers for long.
func (p *Buffers) Pause(ctx context.Context) (resume func()) {
	// All places are asked for at once: one after the other would each wait behind all sessions
	// that wait, which may be thousands.
	taken := make(chan int)
	for range maxBuffers {
		go func() {
			select {
			case <-p.places:
				taken <- 1
			case <-ctx.Done():
				taken <- 0
			}
		}()
	}
	n := 0
	for range maxBuffers {
		n += <-taken
	}
	back := func() {
		for range n {
			p.places <- struct{}{}
		}
	}
	if n < maxBuffers {
		back()
		return nil
	}
	return back
}

// SetEncoder has encoder make all encoders from now on. It is called between Pause and resume.
func (p *Buffers) SetEncoder(encoder func() Encoder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.encoder = encoder
	for _, b := range p.free { // all that there are
		b.encoder = encoder()
	}
}

// Put takes a buffer back. What it had grown to for an unusual client is let go.
func (p *Buffers) Put(b *Buffer) {
	b.peekResult = peekResult{}
	b.framed, b.Message.Raw = framing.Message{}, nil // they may be of what had been moved
	b.out, b.opens, b.tapped = b.out[:0], false, nil
	b.sizes.Reset()
	if cap(b.out) > 2*BatchSize {
		b.out = nil
	}
	if cap(b.Frame) > 2*BatchSize {
		b.Frame = nil
	}
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
	p.places <- struct{}{}
}
