//go:build crashtest

package session

const crashTest = true

// crashOn crashes the daemon over a message of its own: the end-to-end tests need a client that
// can.
func crashOn(message []byte) {
	if string(message) == "crash the daemon, please" {
		panic("a client has asked for a crash")
	}
}
