package counts

import (
	"slices"
	"time"
)

// Why a handshake fails.
const (
	HandshakePlainText   = "plaintext"   // the client speaks no TLS
	HandshakeCertificate = "certificate" // the client's certificate was refused, or is missing
	HandshakeTimeout     = "timeout"     // it was not done in time
	HandshakeKernel      = "kernel"      // the kernel would not have the keys, and has to
	HandshakeOther       = "failed"      // anything else, such as a client that closes
)

// handshakeDone counts a handshake that has not failed.
const handshakeDone = "done"

var handshakeFailures = []string{
	HandshakePlainText, HandshakeCertificate, HandshakeTimeout, HandshakeKernel, HandshakeOther,
}

// HandshakeResults returns how many handshakes have ended in each way, also in those that none has.
func (l *Listener) HandshakeResults() map[string]int64 {
	by := l.Handshakes.Snapshot()
	by[handshakeDone] += 0
	for _, why := range handshakeFailures {
		by[why] += 0
	}
	return by
}

// HandshakeDone counts a TLS handshake that is done, and how long it took.
func (l *Listener) HandshakeDone(took time.Duration) {
	if l != nil {
		l.Handshakes.Add(handshakeDone, 1)
		l.Handshake.Observe(int64(took))
	}
}

// HandshakeFailed counts a TLS handshake that has failed. why is one of the words above; any other
// counts as HandshakeOther, so that no client can make up words.
func (l *Listener) HandshakeFailed(why string) {
	if l == nil {
		return
	}
	if !slices.Contains(handshakeFailures, why) {
		why = HandshakeOther
	}
	l.Handshakes.Add(why, 1)
}
