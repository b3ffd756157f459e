// Package session is our dealings with one client, from the first byte of its connection to its
// last record: the stages before the greeting, and then the service, which is recording, a program
// or another process. It promises that a message is recorded once, whole, with its sender, in the
// order that the client sent; that a session which has ended has been written; and that a client is
// read no further while its records cannot be written.
package session

import (
	"cmp"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/counts"
	"tcpmux/daemon/record"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// Config is what a session begins with.
type Config struct {
	Env      *Env
	Settings *Settings               // for as long as it lasts
	Bounds   *atomic.Pointer[Bounds] // those in force, which a reload changes under it
	Conn     conn.Conn               // the session's from now on
	Source   record.Source           // who records are from: Remote is a sockaddr.Peer's text
	Opened   time.Time
	Counts   *counts.Listener // of its listener; nil: nobody counts
	Slot     *state.Slot      // what the next process will know; nil: nothing
	Keep     Keep             // nil: it ends with the process
	*Past                     // nil: the connection was just accepted
	Events   config.Events    // whether its opening and its closing are records
	Unix     bool             // the connection is of a unix socket
}

// Past is what lies behind a connection when its session begins. The zero value is nothing: it was
// just accepted. It is apart from Config since most sessions have none.
type Past struct {
	Checkpoints Checkpoints // nil: the slot
	Resume      *Resume     // what the previous process has left; nil: it begins with this one
	Upstream    *Upstream   // with which the previous process has joined the client; nil: with none
	// Reply is what the client is sent before the banner: MuxReply, as it has asked a mux for
	// the listener; "": nothing.
	Reply  string
	Staged bool       // the stages are done
	Done   DoneStages // and so are these, if not all are
	Killed bool       // it was killed: all that is left to do is to record its end

	behind *namePeek // shows what came with the name; nil: nobody knows any more
}

// accepted is that of all connections that were just accepted. Nobody changes it.
var accepted = Past{Resume: &fresh}

// Session is one client's. Run is its goroutine; the services that it runs use the other methods on
// that goroutine, unless they say otherwise.
type Session struct {
	Config
	progress
	shown   shown
	phase   atomic.Int32 // a Phase, and killedBit
	hurried atomic.Bool
	partial atomic.Int32 // bytes of a message that has not ended, as others see it

	retired bool       // it has ended, and the slot is another session's; mu guards it
	mu      sync.Mutex // also guards changes of Source
	ends    *ends      // nil: nothing is known
	service Service    // nil before the stages are done
	next    *Session   // has followed it on the connection; nil: none has
}

// ends are what is known of the ends of a connection, of few of which anything is. mu guards it.
type ends struct {
	secured   *tlsconn.Info // nil: the client speaks clear text, or has not made its handshake
	connected connected
}

// endsLocked returns what is known of the ends of the connection, and is not nil.
func (s *Session) endsLocked() *ends {
	if s.ends == nil {
		s.ends = &ends{}
	}
	return s.ends
}

// progress is what a session has come to.
type progress struct {
	offset     int64 // bytes of the stream that messages have taken
	records    int64
	lost       int32 // records that the sink did not take: those of one buffer
	opening    opening
	openGiven  bool // the record of its opening is among those that the sink was given
	closeGiven bool // and so is that of its closing
	working    bool // on the client's bytes
}

// Service serves a client once the stages are done.
type Service interface {
	// Serve serves the client, on the session's goroutine, until the client, the daemon or a
	// fault ends that. When it returns nothing of the service is left running.
	Serve() (Reason, error)
	// Changed tells it that the session's phase or its bounds have changed. It is called from
	// any goroutine, also before Serve and after it.
	Changed()
}

// Stage is what a connection goes through before it is greeted. It returns "" when the next stage
// may begin, or the service; otherwise why the session ends. Its waits end when the phase changes.
type Stage interface {
	Run(s *Session) (Reason, error)
}

// New returns a session that Run will serve.
func New(c Config) *Session {
	s := &Session{Config: c}
	s.begin()
	return s
}

// begin sets what follows from the Config.
func (s *Session) begin() {
	if s.Past == nil {
		s.Past = &accepted
	}
	if s.Resume == nil {
		s.Resume = &fresh
	}
	if s.Settings.OffRecord() {
		s.Events = config.NoEvents
	}
	s.offset, s.records = s.Resume.Offset, s.Resume.Records
	s.show()
	if !s.Resume.Heard.IsZero() {
		s.shown.heard.Store(s.Resume.Heard.UnixMicro() << stateBits)
	}
	if s.Killed {
		s.phase.Store(int32(Over) | killedBit)
		s.Conn.Wake()
	}
	// What a program gets without a record cannot be waited for.
	if s.Events == config.EventsOnData && (s.Settings.Record || s.Settings.Muxes()) && !s.Resume.Opened {
		s.opening = openHeld
	}
}

// Peer returns who has connected: the proxy, where there is one. The session's goroutine calls it.
func (s *Session) Peer() sockaddr.Peer {
	peer, _ := sockaddr.ParsePeer(cmp.Or(s.Source.Proxy, s.Source.Remote)) // it is one
	return peer
}

// Resumed reports whether a previous process has served the client.
func (s *Session) Resumed() bool { return s.Resume != &fresh }

// Buffers returns the buffers that the session shares with the others of its sink. So a sink that
// stands still ties up none that others need.
func (s *Session) Buffers() *Buffers {
	if own := s.Settings.Buffers; own != nil {
		return own
	}
	return s.Env.Buffers
}

// Offset returns how many bytes of the client's stream messages have taken.
func (s *Session) Offset() int64 { return s.offset }

// Records returns how many messages of the client are recorded.
func (s *Session) Records() int64 { return s.records }

// Run serves the client to the end. When it returns all that the client sent is written, unless the
// sink, or the process that served it, has failed; and the connection is closed. But if it returns
// another session, then that goes on with the connection, once it is run.
func (s *Session) Run() *Session {
	defer s.notePanic()
	if s.Settings.Threaded {
		runtime.LockOSThread() // it is never given back: the thread ends with the goroutine
	}
	why, err := s.prepare()
	if why == "" {
		why, err = s.service.Serve()
	}
	if why = s.end(why); why != "" {
		// From here, as it is deep: a stack is the cheaper to grow the less is on it.
		s.log(why, err)
	}
	return s.following()
}

// Greeting returns what the client is sent before it is served: Reply and the banner; nil: nothing,
// or the previous process has sent it. It is not to be changed. It goes out in one write, so that a
// client has all of it or nothing. Services call it.
func (s *Session) Greeting() []byte {
	switch {
	case s.Resume.Greeted:
		return nil
	case s.Reply == "":
		return s.Settings.Banner.For(s)
	}
	return s.Settings.Banner.BehindReply(s)
}

// prepare runs the stages and makes the service. A reason is that the session ends.
func (s *Session) prepare() (Reason, error) {
	if why := s.Resume.Ended; why != "" {
		return why, nil
	}
	if !s.Staged {
		for _, stage := range s.Settings.Stages {
			if why, err := stage.Run(s); why != "" {
				return why, err
			}
		}
	}
	service, err := s.Settings.Service(s)
	if err != nil {
		return ByError, err
	}
	s.mu.Lock()
	s.service = service
	s.mu.Unlock()
	if s.Phase() != Serving { // it has changed before there was a service to tell
		service.Changed()
	}
	return "", nil
}

// end ends a session that has been served: it is recorded, and the peer is told. It returns why it
// has ended; "" when it goes on in the next process or as another session, or never was one.
func (s *Session) end(why Reason) Reason {
	if why == byMove {
		s.Counts.Ended(string(byMove))
		return ""
	}
	why = s.asKilled(why)
	secured, _ := s.Conn.(*tlsconn.Conn)
	if why == ByLeave && secured != nil && !s.Survives() {
		why = ByDrain // the kernel has not got it after all
	}
	switch {
	case s.Phase() == Leaving && (why == ByLeave || why == BySink):
		s.Conn.Close() // what the sink did not take is still in the socket
		return ""
	case why == byRefusal:
		s.retire()
		s.Conn.Close()
		s.Counts.Ended(string(byRefusal))
		return ""
	}
	// A client that has sent nothing has no record of its opening, and so none of its end.
	if s.Events != config.NoEvents && s.opening != openHeld && s.recordEnd(why) != nil {
		why = BySink
	}
	if secured != nil {
		secured.CloseNotify()
	}
	s.retire()
	s.Conn.Close()
	return why
}

// retire has the next process know nothing of the session, whose end is recorded, and the peer told
// of it. What still arrives is nobody's any longer.
func (s *Session) retire() {
	if s.Keep != nil {
		s.Slot.SetClosed()
		if s.Keep.Retire() {
			s.Conn.HangUp()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	if s.Keep != nil {
		s.Slot.Free()
	}
}
