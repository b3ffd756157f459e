package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Kind is a kind of error, in the words of a user. It is an error itself.
type Kind string

// The kinds of errors. All others have the text of the kernel.
const (
	Refused Kind = "refused" // nobody listens
	Reset   Kind = "reset"   // the server, or its kernel, aborted the connection
	// Nothing arrived, or nothing was accepted, for --timeout.
	Timeout    Kind = "timeout"
	NoGreeting Kind = "no greeting" // the server closed and sent nothing
	// The server closed before the end of what was expected.
	ShortGreeting Kind = "short greeting"
	WrongGreeting Kind = "wrong greeting" // the server sent something else
	ClosedEarly   Kind = "closed early"   // the server closed before the client did
	NotReached    Kind = "not reached"    // the run ended before the client could connect
	NoPort        Kind = "no free port"   // this machine has no source port left
	NoDescriptor  Kind = "no descriptor"  // this machine has no descriptor left
)

// Error returns the kind.
func (k Kind) Error() string { return string(k) }

// kindOf returns the kind of a client's error.
func kindOf(err error) Kind {
	var kind Kind
	var errno syscall.Errno
	var netErr net.Error
	switch {
	case errors.As(err, &kind):
		return kind
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return Timeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET):
		return Reset
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ENOTCONN), errors.Is(err, io.EOF):
		return ClosedEarly
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		return NoPort
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return NoDescriptor
	case errors.As(err, &errno):
		return Kind(errno.Error())
	case errors.As(err, &netErr) && netErr.Timeout():
		return Timeout
	}
	return Kind(err.Error())
}

// errorCounts counts errors by kind. add is safe for concurrent use; byKind may be read once no
// goroutine adds any more.
type errorCounts struct {
	mu     sync.Mutex
	byKind map[Kind]int64
}

func newErrorCounts() *errorCounts { return &errorCounts{byKind: map[Kind]int64{}} }

func (c *errorCounts) add(k Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byKind[k]++
}
