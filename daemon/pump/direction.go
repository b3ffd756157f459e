package pump

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

const (
	// chunkSize is how much is carried at a time: the longest record of TLS.
	chunkSize = 16 << 10
	// spareSize is how much of that is kept while there is no room for it.
	spareSize = 512
	// restSize bounds what is taken of a stream at its end, as a client may go on sending: more
	// than a receive buffer holds (tcp(7), tcp_rmem).
	restSize = 8 << 20
)

// chunks are buffers that nobody uses.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// direction carries bytes one way. Its goroutine uses it.
type direction struct {
	from, to conn.Conn
	spare    bool         // no chunk is held while there is no room for it
	bytes    atomic.Int64 // that were carried
	blocked  atomic.Bool  // it waits for room
	onBlock  func()       // called when it begins to; nil: nobody is told

	chunk *[chunkSize]byte // nil: nothing was seen
	n     int              // how much of it was seen
	err   error            // what else was
}

// outcome is why nothing more is carried. With none of them the other side had what has come.
type outcome struct {
	ended bool  // the stream has
	read  error // of the stream
	write error // of the other side
}

// run carries until the stream ends, the other side takes no more, or over reports true when a wait
// ends early: then it carries no more than has come by then.
func (d *direction) run(over func() bool) outcome {
	for {
		switch err := d.from.Wait(d.see); {
		case err == nil:
			if _, why := d.carry(); why != nil {
				return *why
			}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return outcome{read: err}
		case over():
			return d.rest()
		default:
			d.from.SetReadDeadline(time.Time{})
		}
	}
}

// see looks at what has come, and reports whether anything has: bytes, the end, or an error. Only
// bytes take a buffer.
func (d *direction) see() bool {
	if d.chunk == nil {
		d.chunk = chunks.Get().(*[chunkSize]byte)
	}
	n, err := d.from.Peek(d.chunk[:])
	d.n, d.err = max(n, 0), err
	if d.n == 0 {
		d.release()
	}
	return err != unix.EAGAIN
}

func (d *direction) release() {
	if d.chunk != nil {
		chunks.Put(d.chunk)
		d.chunk = nil
	}
}

// carry carries what was seen, and returns how much that is, and why no more can be carried; nil if
// more can.
func (d *direction) carry() (n int, why *outcome) {
	defer d.release()
	switch {
	case d.n == 0 && d.err != nil:
		return 0, &outcome{read: d.err}
	case d.n == 0:
		return 0, &outcome{ended: true}
	}
	// First without waiting: a client whose time is over is written to in no other way.
	n, err := d.to.TryWrite(d.chunk[:d.n])
	if err == nil && n < d.n {
		n, err = d.carryTight(n)
	}
	d.bytes.Add(int64(n))
	if err != nil {
		return n, &outcome{write: err}
	}
	if err := d.from.Discard(n); err != nil {
		return n, &outcome{read: err}
	}
	return n, nil
}

// carryTight goes on where there was room for the first n bytes only. It returns how many are
// carried by now.
func (d *direction) carryTight(n int) (int, error) {
	rest := d.chunk[n:d.n]
	if d.spare {
		rest = slices.Clone(rest[:min(len(rest), spareSize)])
		d.release()
	}
	// What could not be written at once is written next, from its first byte on, as a record of
	// TLS may have been made of it already.
	if err := d.write(rest); err != nil {
		return n, err
	}
	return n + len(rest), nil
}

// write waits until there was room for b.
func (d *direction) write(b []byte) error {
	d.blocked.Store(true)
	defer d.blocked.Store(false)
	if d.onBlock != nil {
		d.onBlock()
	}
	return d.to.Write(b)
}

// rest carries what has come by now.
func (d *direction) rest() outcome {
	for left := restSize; left > 0 && d.see(); {
		n, why := d.carry()
		if why != nil {
			return *why
		}
		left -= n
	}
	return outcome{}
}
