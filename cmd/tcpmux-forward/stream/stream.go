// Package stream publishes records to a stream of NATS JetStream, each exactly once. What the
// stream holds decides where to go on, so that nothing is lost or doubled when either side is
// killed at any moment. It is the only package that knows NATS.
package stream

import (
	"time"

	"tcpmux/config"
	"tcpmux/daemon/delivery"
)

// Options are what a connection needs.
type Options struct {
	Forward config.Forward
	// Host is the name of this machine in subjects.
	Host string
	// Former is the filter of this machine's messages before its subjects were changed; "" if
	// they were not. They say where the delivery stands, too.
	Former string
	// Timeout is how long a server may take to answer.
	Timeout time.Duration

	shared bool // the stream is always taken as one that others publish to; for tests
}

// The values of Info.Mode.
const (
	// Chained: each message is stored only behind the one before it.
	Chained = "chained"
	// Atomic: so it is as long as the server is alone and nobody else publishes to the stream.
	// Else batches are stored whole or not at all.
	Atomic = "atomic"
)

// Info is what is known about a connection.
type Info struct {
	// Server is the URL of the server, without credentials.
	Server        string
	ServerVersion string
	// Mode is Atomic or Chained.
	Mode string
	// MaxPayload is how large a message may be, with its headers.
	MaxPayload int64
	// Warnings are for an administrator: what works, but not well.
	Warnings []string
}

// Last is what a stream says about where the delivery of this machine stands.
type Last struct {
	// Found reports whether the stream has a message of this machine. Cursor and Sequence are
	// what its last one says.
	Found    bool
	Cursor   delivery.Cursor
	Sequence uint64
	// Torn reports that the last batch has lost its end, as when somebody removes messages of
	// one subject. Then Cursor is from before that batch.
	Torn bool
	// Stream is the stream itself.
	Stream delivery.Stream
	// StreamFirst and StreamLast are the sequences of the first and the last message that the
	// stream has of anybody.
	StreamFirst, StreamLast uint64
}
