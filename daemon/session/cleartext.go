package session

import (
	"errors"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/tlsconn"
)

// errTLS is that a client speaks TLS where the listener does not.
var errTLS = errors.New("the client speaks TLS, and the listener does not: see [tls] in tcpmux.toml(5)")

// greetsInTLS reports whether what is seen, the first of the stream, is how a client of TLS begins,
// at a listener for text: there it is no message.
func (r *Recorder) greetsInTLS() bool {
	switch r.s.Settings.Framing.Kind {
	case framing.Line, framing.NUL, framing.OctetCounted, framing.Delimited:
		return !r.s.SpeaksTLS() && len(r.moved) == 0 && tlsconn.IsHello(r.buf.in[:r.buf.n])
	}
	return false
}

// endTLS ends the session of a client that waits for an answer which does not come. What it has
// sent is recorded all the same.
func (r *Recorder) endTLS() (Reason, error) {
	r.letGo()
	return r.takeRest(ByTLS, framing.Malformed), errTLS
}
