package session

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/sink"
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
	Admit func(s *Session, client netip.AddrPort) bool
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
	// Forsake has the connection end with this process: Survives is false from now on. The
	// session's goroutine calls it.
	Forsake()
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
