package daemon

import (
	"errors"

	"golang.org/x/sys/unix"
)

// reason is why a session has ended, as logs and close records show it.
type reason string

const (
	byEOF    reason = "eof"    // the client closed
	byReset  reason = "reset"  // the client broke the connection off
	byLoss   reason = "lost"   // the client has vanished: keepalive, or an unreachable network
	byIdle   reason = "idle"   // idle_timeout
	byAge    reason = "age"    // max_session
	byVolume reason = "volume" // max_session_bytes
	bySlow   reason = "slow"   // message_timeout
	byDrain  reason = "drain"  // the daemon stopped and drain_timeout was over
	byBanner reason = "banner" // the client would not take its greeting
	byAck    reason = "ack"    // the client would not take its acknowledgements
	bySink   reason = "sink"   // the daemon stopped while records could not be written
	byError  reason = "error"  // any other error of the connection

	byMalformed reason = "malformed" // the client does not keep to the listener's framing
	byChild     reason = "process"   // the process that served the client has died
	bySuspect   reason = "suspect"   // process after process has died over it
	byProxy     reason = "proxy"     // the proxy did not say whom it speaks for

	byLeave   reason = "leave" // it has not ended: the next process goes on with it
	byRefusal reason = ""      // the proxy's client was refused: there is no session to tell of
)

// Reasons of sessions that a program serves, beside those that all sessions know. How the program ended is one too: "exit 0" to
// "exit 255" for its status, "signal 9" for the signal that ended it.
const (
	byExec    reason = "exec"    // the program could not be started
	byTimeout reason = "timeout" // exec_timeout
)

// isTalks says whether a talk returns it, in the daemon or in a session's process.
func (r reason) isTalks() bool {
	switch r {
	case byLeave, byEOF, byReset, byLoss, byIdle, byAge, byVolume, bySlow, byDrain, byBanner, byAck, byMalformed, bySink, byError:
		return true
	}
	return false
}

// reasonOf is the reason that goes with an error of the connection.
func reasonOf(err error, otherwise reason) reason {
	switch {
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return byReset
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return byLoss
	}
	return otherwise
}
