package tlsconn

// Memory keeps, where a crash of this process does not reach it, what the kernel cannot tell the
// next process of a connection whose TLS records it encrypts and decrypts. The session's goroutine
// uses it.
type Memory interface {
	// Begin notes a connection that is about to be given to the kernel: until Establish the next
	// process closes it. It returns false if there is no room: then the connection ends with
	// this process.
	Begin(s Secured) bool
	// Establish notes that the kernel has the connection's keys.
	Establish()
	// Taking notes that n bytes of the stream are about to be taken from the socket, of which
	// the last is last. It returns where that one has to land: until then, another byte is
	// there. If the process dies, this tells whether the bytes were taken.
	Taking(n int, last byte) (landing *byte)
	// Taken notes that they were.
	Taken()
	// Rekey notes the secrets of a connection whose keys are about to change. An empty one does
	// not change.
	Rekey(client, server []byte)
}

// Secured is what is kept of a TLS connection.
type Secured struct {
	Version    uint16 // as crypto/tls has them
	Suite      uint16
	ServerName string
	Subject    string
	// The traffic secrets of both directions (RFC 8446, section 7.1), 32 or 48 bytes each.
	Client, Server []byte
}

// Left is a connection that the previous process has left, with its keys in the kernel.
type Left struct {
	Secured
	Memory Memory
}
