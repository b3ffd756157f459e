package session

import (
	"errors"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/tlsconn"
)

// Reason is why a session has ended, as logs and close records show it.
type Reason string

// Reasons of all sessions.
const (
	ByEOF    Reason = "eof"    // the client closed
	ByReset  Reason = "reset"  // the client broke the connection off
	ByLoss   Reason = "lost"   // the client has vanished: keepalive, or an unreachable network
	ByIdle   Reason = "idle"   // idle_timeout
	ByAge    Reason = "age"    // max_session
	ByVolume Reason = "volume" // max_session_bytes
	BySlow   Reason = "slow"   // message_timeout
	ByDone   Reason = "done"   // a built-in service has sent all it sends
	ByKill   Reason = "killed" // an administrator has ended the session
	ByDrain  Reason = "drain"  // the daemon stopped and drain_timeout was over
	ByBanner Reason = "banner" // the client would not take its greeting
	ByAck    Reason = "ack"    // the client would not take its acknowledgements
	BySink   Reason = "sink"   // the daemon stopped while records could not be written
	ByError  Reason = "error"  // any other error of the connection

	ByMalformed Reason = "malformed" // the client does not keep to the listener's framing
	ByProcess   Reason = "process"   // the process that served the client has died
	BySuspect   Reason = "suspect"   // process after process has died over it
	ByProxy     Reason = "proxy"     // the proxy did not say whom it speaks for

	ByPlainText   Reason = "plaintext"   // the client speaks no TLS, where the listener does
	ByTLS         Reason = "tls"         // the client speaks TLS, where the listener does not
	ByHandshake   Reason = "handshake"   // TLS's handshake has failed, or was not done in time
	ByCertificate Reason = "certificate" // the client's certificate was refused, or is missing
	ByTruncation  Reason = "truncated"   // the client closed without TLS's close_notify
	ByCrash       Reason = "crash"       // the process died that had the client's TLS

	ByMux  Reason = "mux"  // the client of a mux has named no listener that there is
	ByHelp Reason = "help" // it has asked for the names, and has them

	ByLeave Reason = "leave" // it has not ended: the next process goes on with it
	// The proxy's client was refused: nothing is recorded or logged.
	byRefusal Reason = "refusal"
	// Another session goes on with the connection: nothing is recorded or logged.
	byMove Reason = "moved"
)

// Reasons of sessions that a program serves, next to those of all sessions. How the program ended
// is one too: "exit 0" to "exit 255" for its status, "signal 9" for the signal that ended it.
const (
	ByExec    Reason = "exec"    // the program could not be started
	ByTimeout Reason = "timeout" // exec_timeout
)

// OfRecorder reports whether a Recorder returns it, in the daemon or in a session's process.
func (r Reason) OfRecorder() bool {
	switch r {
	case ByLeave, ByEOF, ByReset, ByLoss, ByIdle, ByAge, ByVolume, BySlow, ByDrain, ByBanner, ByAck, ByMalformed, BySink, ByError, ByTLS, ByTruncation:
		return true
	}
	return false
}

// ReasonOf returns the reason that goes with an error of the connection.
func ReasonOf(err error, otherwise Reason) Reason {
	switch {
	case errors.Is(err, tlsconn.ErrTruncated):
		return ByTruncation
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return ByReset
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return ByLoss
	}
	return otherwise
}
