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

// Kind is what went wrong, as a user would say it.
type Kind string

// The kinds there are; whatever is none of these is told in the words of the kernel.
const (
	Refused       Kind = "refused"        // nobody listens
	Reset         Kind = "reset"          // the server, or its kernel, broke the connection off
	Timeout       Kind = "timeout"        // nothing came, or nothing was taken, for --timeout
	NoGreeting    Kind = "no greeting"    // the server closed without a word
	ShortGreeting Kind = "short greeting" // the server closed in the middle of what was expected
	WrongGreeting Kind = "wrong greeting" // it said something else
	ClosedEarly   Kind = "closed early"   // the server closed before the client did
	NotReached    Kind = "not reached"    // the time was over before the client could connect
	NoPort        Kind = "no free port"   // this machine has no source port left
	NoDescriptor  Kind = "no descriptor"  // this machine has no descriptor left
)

// Error makes a kind an error of its own.
func (k Kind) Error() string { return string(k) }

// kindOf is the kind of any error of a client.
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

// tally counts errors by kind. It may be used from any goroutine.
type tally struct {
	mu sync.Mutex
	n  map[Kind]int64
}

func newTally() *tally { return &tally{n: map[Kind]int64{}} }

func (t *tally) add(k Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[k]++
}

// counts is the tally itself, for when all is over.
func (t *tally) counts() map[Kind]int64 { return t.n }
