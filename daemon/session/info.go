package session

import (
	"sync/atomic"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/tap"
)

// State is what a session waits for.
type State uint8

// States. One that is not named here is none.
const (
	Starting     State = iota // its stages or its service begin
	ForHeader                 // a PROXY header
	ForHandshake              // TLS's handshake
	ForGreeted                // the client, to take its banner
	ForClient                 // bytes of the client
	ForAck                    // the client, to take its acknowledgements
	ForSink                   // what it has recorded to be written
	ForProgram                // its program
	ForProcess                // a process that serves the client
	ForUpstream               // an upstream, to be connected
	ForName                   // the name of a listener
)

// String returns the word that status and console show.
func (s State) String() string {
	return [...]string{"start", "proxy header", "handshake", "greeting", "client", "ack", "sink", "program", "process", "upstream", "name"}[s]
}

// shown is what others see of a session: all that is recorded. Its goroutine alone changes it, once
// for each batch of messages.
type shown struct {
	// When the messages came that were recorded last, in Unix microseconds << stateBits, with
	// the State.
	heard   atomic.Int64
	offset  atomic.Int64
	records atomic.Int64

	batch // of the goroutine
}

const stateBits = 8

// loaded is when the process began. Times of batches are measured from it.
var loaded = time.Now()

// Await notes what the session waits for from now on. The session's goroutine calls it.
func (s *Session) Await(state State) {
	s.shown.heard.Store(s.shown.heard.Load()&^(1<<stateBits-1) | int64(state))
}

// SetPartial notes how many bytes have come of a message that has not ended. The session's
// goroutine calls it.
func (s *Session) SetPartial(n int) {
	if s.partial.Load() != int32(n) {
		s.partial.Store(int32(n)) // no message is longer than 16 MiB (max_message)
	}
}

// show has others see what the session has come to.
func (s *Session) show() {
	s.shown.offset.Store(s.offset)
	s.shown.records.Store(s.records)
}

// batch is what is kept of a buffer until its records are written. It is not on the stack, of which
// a client that waits has as much as it once needed.
type batch struct {
	began  time.Duration // when what it shows was seen, from loaded on
	tapped *tap.Lines    // for those who listen; nil: nobody does
}

// beginCommit notes that the buffer's records are about to be written.
func (s *Session) beginCommit(b *Buffer) {
	heard := s.shown.heard.Load() &^ (1<<stateBits - 1)
	if s.offset != s.shown.offset.Load() {
		heard = b.now.UnixMicro() << stateBits
		s.Counts.Measured(&b.sizes)
	}
	s.shown.heard.Store(heard | int64(ForSink))
	s.shown.began = b.now.Sub(loaded)
	s.shown.tapped = s.Env.Tap.Take(b.tapped, &s.Source, b.out)
	b.tapped = nil
}

// endCommit has others see what is written now: the records since first.
func (s *Session) endCommit(first int64) {
	if bytes := s.offset - s.shown.offset.Load(); bytes > 0 && s.Counts != nil {
		s.Counts.Recorded(s.records-first, bytes, int64(time.Since(loaded)-s.shown.began))
	}
	s.show()
	s.Await(ForClient)
	if l := s.shown.tapped; l != nil {
		s.shown.tapped = nil
		s.Env.Tap.Publish(l)
	}
}

// Summary is what is known of a session without asking the kernel.
type Summary struct {
	ID       string
	Listener string
	Remote   string
	Proxy    string // "": none
	Mux      string // the listener at which the client has named this one; "": none
	Secured
	Upstream string // what the client is connected with; "": nothing
	Model    string
	Phase    Phase
	Killed   bool
	State    State
	Opened   time.Time
	Heard    time.Time // when it last sent a message; zero: never
	Records  int64     // that are written
	Bytes    int64     // of the stream, that they take
}

// Summary returns that of the session. It may be called from any goroutine, also after the end.
func (s *Session) Summary() Summary {
	s.mu.Lock()
	source := s.Source
	var known ends
	if s.ends != nil {
		known = *s.ends
	}
	s.mu.Unlock()
	heard, phase := s.shown.heard.Load(), s.phase.Load()
	i := Summary{
		ID:       source.Session,
		Listener: source.Listener,
		Remote:   source.Remote,
		Proxy:    source.Proxy,
		Mux:      source.Mux,
		Secured:  securedOf(known.secured),
		Upstream: known.connected.upstream,
		Model:    s.Settings.Model,
		Phase:    Phase(phase &^ killedBit),
		Killed:   phase&killedBit != 0,
		State:    State(heard & (1<<stateBits - 1)),
		Opened:   s.Opened,
		Records:  s.shown.records.Load(),
		Bytes:    s.shown.offset.Load(),
	}
	if heard >>= stateBits; heard != 0 {
		i.Heard = time.UnixMicro(heard)
	}
	return i
}

// Info is Summary and what the kernel knows.
type Info struct {
	Summary
	Unread   int64 // bytes that have arrived and are not recorded
	Survives bool  // the session would go on after a crash
}

// Info returns that of the session. It may be called from any goroutine, also after the end.
func (s *Session) Info() Info {
	i := Info{Summary: s.Summary()}
	i.Survives = s.Survives() && i.Upstream == "" // that outlives a planned restart only
	s.Conn.Control(func(fd uintptr) { i.Unread = int64(conn.Unread(fd)) })
	// Sessions that find no buffer, also for the record of their opening, wait for the sink,
	// which has the others keep theirs.
	wants := i.State == Starting || i.State == ForClient && i.Unread > int64(s.partial.Load())
	if wants && s.Buffers().exhausted() {
		i.State = ForSink
	}
	return i
}

// Detail is all about a session.
type Detail struct {
	Info
	Local   string
	Framing framing.Kind
	Partial int64 // bytes that have come of a message that has not ended
	// TCP is what the kernel knows of the connection.
	TCP   conn.TCPInfo
	Known bool // TCP is known
}

// Detail returns that of the session. It may be called from any goroutine, also after the end.
func (s *Session) Detail() Detail {
	d := Detail{Info: s.Info(), Framing: s.Settings.Framing.Kind, Partial: int64(s.partial.Load())}
	if s.Settings.Model == "process" && d.State == ForClient {
		d.Partial += d.Unread // its process leaves there what has not ended
	}
	if local := s.Conn.LocalAddr(); local.IsValid() {
		d.Local = local.String()
	}
	s.Conn.Control(func(fd uintptr) { d.TCP, d.Known = conn.GetTCPInfo(fd) })
	return d
}

// Survives reports whether the session would outlive this process now. A program does not, and its
// client with it, though the connection may have been kept before its listener ran programs. It may
// be called from any goroutine.
func (s *Session) Survives() bool {
	program := len(s.Settings.Exec) > 0 && !s.Resumed()
	return !program && s.Keep != nil && s.Keep.Survives()
}
