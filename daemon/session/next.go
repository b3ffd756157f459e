package session

import "tcpmux/daemon/tlsconn"

// DoneStages are stages that a connection has gone through with another session. It goes through
// them once.
type DoneStages uint8

const (
	DoneProxy DoneStages = 1 << iota // ProxyStage
	DoneTLS                          // TLSStage
)

// Continue makes next, which is new, the session which goes on with the connection in place of s, at
// another listener. It begins with what s knows of the client and has of the connection, and with
// its phase; change sets what is the listener's. It is called on the goroutine of s, by a stage,
// which then returns. The Past of next is its own.
func (s *Session) Continue(next *Session, change func(*Config)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := next.Past
	next.Config = s.Config
	next.Past = past
	change(&next.Config)
	next.begin()
	if s.ends != nil {
		next.ends = &ends{secured: s.ends.secured}
	}
	next.phase.Store(s.phase.Load())
	next.hurried.Store(s.hurried.Load())
	s.next = next
}

// Last returns the session that goes on with the connection now: s, or the one that has followed
// it. It may be called from any goroutine.
func (s *Session) Last() *Session {
	for {
		next := s.following()
		if next == nil {
			return s
		}
		s = next
	}
}

// following returns the session that has followed s; nil if none has.
func (s *Session) following() *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// follow has a session do what the one before it was told at the time when it took over.
func (s *Session) follow(before *Session) {
	s.Enter(before.Phase())
	if before.hurried.Load() {
		s.Hurry()
		return
	}
	s.Refresh()
}

// SpeaksTLS reports whether the client speaks TLS, or is about to: what it sends and is sent goes
// through this process, unless the kernel has the keys.
func (s *Session) SpeaksTLS() bool {
	_, secured := s.Conn.(*tlsconn.Conn)
	return secured
}
