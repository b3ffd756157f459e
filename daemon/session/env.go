package session

import (
	"log/slog"
	"sync/atomic"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/sink"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tap"
	"tcpmux/daemon/tlsconn"
)

// Env is what the sessions of a process share. Its methods and fields may be used from any
// goroutine; the fields are not changed once there are sessions.
type Env struct {
	Buffers *Buffers
	Spill   *Spill
	Wakeup  conn.Wakeup // of the sessions with a thread of their own
	Log     *slog.Logger
	Lines   *logging.LineLimit // of what clients and their programs have logged
	Visits  *logging.Visits    // those without data
	Records atomic.Int64       // messages written
	Tap     *tap.Tap           // for those who follow what is recorded; nil: nobody does

	Handshakes Handshakes // of TLS, under way

	// BannerTimeout is how long a client may take to read a banner that does not fit its
	// buffer.
	BannerTimeout time.Duration
	// Admit decides on a client that a proxy speaks for, and counts it.
	Admit func(s *Session, client sockaddr.Peer) bool
	// Move gives the connection of s, whose client has named a listener of its mux, to next, a
	// new session, as one of that (Session.Continue). The name takes size bytes of the stream,
	// which s then removes. If it has not moved, the client is refused, for what refusal says,
	// or has to wait if that is "", until the session's phase changes: the next process gives
	// it to the listener.
	Move func(s, next *Session, listener string, size int) (moved bool, refusal string)
}

// Sink is where sessions hand what they have encoded. Its promises are those of sink.Sink.
type Sink interface {
	Gather(lines []byte, by sink.Giver) (sink.Ticket, error)
	Commit(sink.Ticket) error
	CommitNow(sink.Ticket) error
}

// Ring has sessions with a thread of their own notice what was set for them.
func (e *Env) Ring() {
	if err := e.Wakeup.Ring(); err != nil {
		e.Log.Error("threads cannot be woken", "err", err)
	}
}

// Keep keeps one connection for the next process.
type Keep interface {
	// Survives reports whether the connection would outlive this process now. It may be called
	// from any goroutine.
	Survives() bool
	// Retire ends that, as the session is recorded to its end. It reports whether others hold
	// the connection still, so that closing it does not end it.
	Retire() (shared bool)
	// Secure returns what keeps the rest of a connection whose TLS the kernel does; nil if
	// nothing can: then it ends with this process. The session's goroutine calls it, once.
	Secure() tlsconn.Memory
	// Track returns what keeps how far a connection of a unix socket was taken; nil if nothing
	// can: then it ends with this process. It is called once, before anything is taken.
	Track() conn.Memory
	// Join keeps the connection of the session's client together with that of its upstream, up.
	// A crash ends both from now on. It returns nil if nothing can keep them: then both end
	// with this process, and the session is to Forsake. The session's goroutine calls it, once,
	// unless a previous process has (Past.Upstream).
	Join(up conn.Conn) Joint
	// Forsake has the connection end with this process: Survives is false from now on. The
	// session's goroutine calls it.
	Forsake()
}

// Joint keeps the connection of a client and that with its upstream together for the next process.
// The session's goroutine uses it.
type Joint interface {
	// Leave notes how both are left, with nothing in between but what l has. Only that has the
	// next process go on with them. It reports false if it cannot: then they end with this
	// process.
	Leave(l Left) bool
	// Part has the upstream's connection be kept no longer. It has ended.
	Part()
}

// Left is how the connections of a client and its upstream are left to the next process.
type Left struct {
	// Offset is where the client's stream goes on that nobody records, and Moved the next bytes
	// of it, which are out of its socket. Of one that is recorded the Checkpoints have both.
	Offset   int64
	Moved    []byte
	Recorded bool
	Ended    bool // the client's stream has, and the upstream was told
	Upstream LeftUpstream
}

// LeftUpstream is how the connection with an upstream is left.
type LeftUpstream struct {
	Answered int64  // bytes of its stream that the client has
	Moved    []byte // the next bytes of it, which are out of its socket
	Ended    bool   // its stream has, and the client was told
}

// Upstream is the connection with an upstream that the previous process has left.
type Upstream struct {
	Conn    conn.Conn
	Address string
	Joint   Joint
	Ended   bool // the client's stream has, and the upstream was told
	LeftUpstream
}

// Checkpoints keep, where a crash of this process does not reach it, how far a session has come and
// what of its stream is out of the kernel. The session's goroutine uses them.
type Checkpoints interface {
	// Save keeps t, if more reports that messages were recorded since the last call, and moved,
	// the beginning of a message at t.Offset. After an error nothing may be removed from the
	// socket.
	Save(t state.Tally, more bool, moved []byte) error
	// Saved reports whether n bytes from offset on are kept.
	Saved(offset int64, n int) bool
}
