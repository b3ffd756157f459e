package stream

import (
	"context"
	"errors"

	"tcpmux/cmd/tcpmux-forward/spool"
)

// Conn is a connection to a server. It is for one goroutine; Closed, Info and Close may be called
// at any time.
type Conn struct{}

// Connect makes one attempt to connect, and checks the stream, or creates it if that is configured.
// Files with credentials are read each time.
func Connect(ctx context.Context, opt Options) (*Conn, error) {
	return nil, &Error{Outage, errors.New("not yet")}
}

// Last asks the stream where the delivery stands. It is called before the first Publish, and again
// after an error of Publish.
func (c *Conn) Last(ctx context.Context) (Last, error) { return Last{}, nil }

// Holds reports whether the stream has a message with the given sequence, of anybody.
func (c *Conn) Holds(ctx context.Context, sequence uint64) (bool, error) { return false, nil }

// Publish stores the records of b behind the last message of this machine, and returns the sequence
// of the last of them. After an error nothing is known: Last tells what is stored.
func (c *Conn) Publish(ctx context.Context, b *spool.Batch) (sequence uint64, err error) {
	return 0, nil
}

// Closed returns a channel that is closed when the connection has ended.
func (c *Conn) Closed() <-chan struct{} { return nil }

// Info returns what is known about the connection.
func (c *Conn) Info() Info { return Info{} }

// Close ends the connection.
func (c *Conn) Close() {}
