package session

import "time"

// An upstream is what a proxy connects the session's client with.

// Why a session has no upstream any more, or never had one.
const (
	ByUpstreamRefused     Reason = "upstream-refused"     // nobody listens there
	ByUpstreamTimeout     Reason = "upstream-timeout"     // connect_timeout
	ByUpstreamUnreachable Reason = "upstream-unreachable" // there is no way there
	ByUpstreamName        Reason = "upstream-name"        // its name has no address
	ByUpstreamTLS         Reason = "upstream-tls"         // its certificate is not good, or it speaks no TLS
	ByUpstreamLoop        Reason = "upstream-loop"        // it is the daemon itself
	ByUpstreamReset       Reason = "upstream-reset"       // it broke the connection off
	ByUpstreamLoss        Reason = "upstream-lost"        // it has vanished
	ByUpstream            Reason = "upstream-failed"      // any other error of its connection
)

// OfUpstream reports whether the session has ended because of its upstream.
func (r Reason) OfUpstream() bool {
	switch r {
	case ByUpstreamRefused, ByUpstreamTimeout, ByUpstreamUnreachable, ByUpstreamName, ByUpstreamTLS, ByUpstreamLoop,
		ByUpstreamReset, ByUpstreamLoss, ByUpstream:
		return true
	}
	return false
}

// connected is what is known of an upstream. mu guards it.
type connected struct {
	upstream string // its address; "": it has none
	answered int64  // bytes that it has sent and the client has got; set at the end
}

// SetUpstream notes which upstream the client is connected with, or was to be: Summary and the log
// have it from now on. The session's goroutine calls it.
func (s *Session) SetUpstream(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endsLocked().connected.upstream = address
}

// SetAnswered notes how many bytes of the upstream the client has got in the end.
func (s *Session) SetAnswered(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endsLocked().connected.answered = bytes
}

// Passed notes that n more bytes of the client's stream went to the upstream, and are recorded
// nowhere. The session's goroutine calls it.
func (s *Session) Passed(n int, now time.Time) {
	s.offset += int64(n)
	s.shown.offset.Store(s.offset)
	s.shown.heard.Store(now.UnixMicro()<<stateBits | s.shown.heard.Load()&(1<<stateBits-1))
}
