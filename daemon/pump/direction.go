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

// Direction carries bytes one way. What has arrived is removed from From only once it is in To's
// keeping, so that a direction which ends has nothing in between; but see Splice. While it waits it
// holds no buffer. One goroutine Runs it; Bytes, Blocked and Waits may be called from any.
type Direction struct {
	From, To conn.Conn
	// Spare has it hold little, rather than a chunk, while To has no room.
	Spare bool
	// Splice has the kernel move the bytes where there are many and both connections are plain
	// sockets (conn.Poll): what is on its way then is in a pipe, and in Outcome.Left if the
	// direction is stopped there.
	Splice bool
	// Head is written before anything else: it was taken from the stream before, and is the
	// next that the other side is due.
	Head []byte
	// Limit returns how many bytes may be carried in all; 0 is no limit, as is nil.
	Limit func() int64
	// Carried is called when bytes were carried, with their number; nil: nobody is told.
	Carried func(n int)
	// OnBlock is called when it begins to wait for room; nil: nobody is told.
	OnBlock func()

	bytes atomic.Int64  // that were carried
	waits atomic.Uint32 // what waits for room

	onRead func() bool // see
	// What was seen, until it is carried.
	chunk *[chunkSize]byte // nil: nothing was
	n     int              // how much of it was seen
	err   error            // what else was
	full  bool             // no more may be carried
	moving
}

// What waits for room.
const (
	forNothing uint32 = iota
	forBytes
	forEnd
)

// Verdict is how a direction goes on when a wait has ended early.
type Verdict uint8

// Verdicts.
const (
	Continue Verdict = iota
	Finish           // it carries no more than has come by now
	Stop             // it carries nothing more: all that has come stays where it is
)

// Outcome is why nothing more is carried. With none of the others the other side had what has come,
// or the direction was stopped.
type Outcome struct {
	Ended bool  // the stream has
	Full  bool  // Limit is reached
	Read  error // of the stream
	Write error // of the other side
	// Left is what was taken from the stream and is not written, if the direction was stopped
	// meanwhile. It is the next that the other side is due.
	Left []byte
}

// Bytes returns how many bytes were carried.
func (d *Direction) Bytes() int64 { return d.bytes.Load() }

// Resume has Bytes and Limit count the bytes that were carried before, by another process. It is
// called before Run.
func (d *Direction) Resume(carried int64) { d.bytes.Store(carried) }

// Blocked reports whether bytes wait for room.
func (d *Direction) Blocked() bool { return d.waits.Load() == forBytes }

// Waits reports whether bytes wait for room, or the end of the stream does.
func (d *Direction) Waits() bool { return d.waits.Load() != forNothing }

// Run carries until the stream ends, the other side takes no more, or over says so when a wait ends
// early.
func (d *Direction) Run(over func() Verdict) Outcome {
	d.onRead = d.see
	d.plug()
	if len(d.Head) > 0 {
		if why := d.carryHead(over); why != nil {
			return *why
		}
	}
	for {
		err := d.From.Wait(d.onRead)
		if err == nil {
			if _, why := d.carry(); why != nil {
				return d.interrupted(*why, over)
			}
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return Outcome{Read: err}
		}
		switch over() {
		case Finish:
			return d.rest()
		case Stop:
			return Outcome{}
		}
		d.From.SetReadDeadline(time.Time{})
	}
}

// carryHead writes the head, and returns why nothing more can be carried; nil if more can.
func (d *Direction) carryHead(over func() Verdict) (why *Outcome) {
	for {
		n, err := d.To.TryWrite(d.Head)
		d.carried(n)
		d.Head = d.Head[n:]
		switch {
		case err != nil:
			return &Outcome{Write: err}
		case len(d.Head) == 0:
			d.Head = nil
			return nil
		case !d.exact:
			n = len(d.Head)
			if err = d.write(d.Head); err == nil {
				d.carried(n)
				d.Head = nil
				return nil
			}
		default:
			err = d.awaitRoom()
		}
		if err != nil {
			out := d.interrupted(Outcome{Write: err}, over)
			if out.Write == nil {
				out.Left = d.Head
			}
			return &out
		}
	}
}

// interrupted makes of a write that has ended early what it is if the direction is to stop: then an
// end stays where it is too.
func (d *Direction) interrupted(why Outcome, over func() Verdict) Outcome {
	if !errors.Is(why.Write, os.ErrDeadlineExceeded) {
		return why
	}
	stopped := d.exact && over() == Stop
	if stopped || why.Ended {
		why.Write = nil
	}
	why.Ended = why.Ended && !stopped
	return why
}

// see looks at what has come, and reports whether anything has: bytes, the end, or an error. Only
// bytes take a buffer.
func (d *Direction) see() bool {
	most := d.room()
	if d.full = most == 0; d.full || d.bulk && d.fill(most) {
		return true
	}
	if d.chunk == nil {
		d.chunk = chunks.Get().(*[chunkSize]byte)
	}
	n, err := d.From.Peek(d.chunk[:min(most, chunkSize)])
	d.n, d.err = max(n, 0), err
	if d.n == 0 {
		d.release()
	}
	d.bulk = d.bulk || d.plain && d.n == chunkSize
	return err != unix.EAGAIN
}

// room returns how many bytes may be carried next.
func (d *Direction) room() int {
	if d.Limit == nil {
		return maxMove
	}
	most := d.Limit()
	if most == 0 {
		return maxMove
	}
	return int(min(max(most-d.bytes.Load(), 0), maxMove))
}

func (d *Direction) release() {
	if d.chunk != nil {
		chunks.Put(d.chunk)
		d.chunk = nil
	}
}

// carry carries what was seen, and returns how much that is, and why no more can be carried; nil if
// more can.
func (d *Direction) carry() (n int, why *Outcome) {
	defer d.release()
	switch {
	case d.pipe != nil:
		return d.carryPipe()
	case d.full:
		return 0, &Outcome{Full: true}
	case d.n == 0 && d.err != nil:
		return 0, &Outcome{Read: d.err}
	case d.n == 0:
		return 0, &Outcome{Ended: true, Write: d.awaitRoomForEnd()}
	}
	// First without waiting: a client whose time is over is written to in no other way.
	n, err := d.To.TryWrite(d.chunk[:d.n])
	if err == nil && n < d.n && !d.exact {
		n, err = d.carryTight(n)
	}
	d.carried(n)
	if err != nil {
		return n, &Outcome{Write: err}
	}
	if err := d.From.Discard(n); err != nil {
		return n, &Outcome{Read: err}
	}
	if n < d.n && d.exact {
		d.release() // what has no room stays where it is
		if err := d.awaitRoom(); err != nil {
			return n, &Outcome{Write: err}
		}
	}
	return n, nil
}

func (d *Direction) carried(n int) {
	if n == 0 {
		return
	}
	d.bytes.Add(int64(n))
	if d.Carried != nil {
		d.Carried(n)
	}
}

// carryTight goes on where there was room for the first n bytes only. It returns how many are
// carried by now.
func (d *Direction) carryTight(n int) (int, error) {
	rest := d.chunk[n:d.n]
	if d.Spare {
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
func (d *Direction) write(b []byte) error {
	defer d.wait(forBytes)()
	return d.To.Write(b)
}

// awaitRoom waits until there may be room.
func (d *Direction) awaitRoom() error {
	defer d.wait(forBytes)()
	return d.to.AwaitRoom()
}

// awaitRoomForEnd waits until a layer has room to say that the stream has ended. A socket needs
// none.
func (d *Direction) awaitRoomForEnd() error {
	l, layer := d.To.(conn.Layer)
	if !layer {
		return nil
	}
	defer d.wait(forEnd)()
	return l.AwaitRoom()
}

// wait notes that the direction waits for room, until the function that it returns is called.
func (d *Direction) wait(what uint32) (done func()) {
	d.waits.Store(what)
	if d.OnBlock != nil {
		d.OnBlock()
	}
	return d.waited
}

func (d *Direction) waited() { d.waits.Store(forNothing) }

// rest carries what has come by now.
func (d *Direction) rest() Outcome {
	for left := restSize; left > 0 && d.see(); {
		n, why := d.carry()
		if why != nil {
			return d.interrupted(*why, finish)
		}
		left -= n
	}
	return Outcome{}
}

// finish is a verdict that is known.
func finish() Verdict { return Finish }
