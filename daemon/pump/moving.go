package pump

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

const (
	// minBulk is how much has to come at a time for the kernel to move it: less is copied in as
	// many system calls.
	minBulk = 8 << 10
	// maxMove bounds what is moved at a time.
	maxMove = 1 << 20
	// maxPipes is how many pipes there may be, of all directions. Each is one's from when bytes
	// have come until they are gone on; a direction that finds none copies.
	maxPipes = 32
)

// Descriptors is how many descriptors all directions together may have, next to those of their
// connections.
const Descriptors = 2 * maxPipes

// moving is what a direction has where the kernel may move its bytes.
type moving struct {
	to    *conn.Poll // the other side, where that is a socket with nothing in between; else nil
	exact bool       // it is
	from  *conn.Poll // the stream, where that is one too
	plain bool       // the kernel may move bytes between them
	bulk  bool       // much has come lately
	pipe  *conn.Pipe // with what has come; nil: nothing was taken
}

// plug finds out what the kernel may do.
func (d *Direction) plug() {
	d.to, d.exact = conn.PollOf(d.To)
	_, direct := d.To.(*conn.Poll)
	from, plain := d.From.(*conn.Poll)
	d.from, d.plain = from, plain && direct && d.Splice
}

// fill moves what has come into a pipe, up to most bytes, and reports whether that is any, or an
// error. If neither, a peek tells why.
func (d *Direction) fill(most int) bool {
	pipe := pipes.get()
	if pipe == nil {
		return false
	}
	n, err := pipe.Fill(d.from, most)
	if n <= 0 {
		pipes.put(pipe)
		return d.failed(err)
	}
	d.bulk = n >= minBulk
	d.pipe = pipe
	return true
}

// failed notes an error of the stream, which the kernel tells only once, and reports whether err is
// one.
func (d *Direction) failed(err error) bool {
	switch err {
	case nil, unix.EAGAIN, unix.ENOMEM:
		return false
	case unix.EINVAL, unix.EOPNOTSUPP: // this kind of socket does not move bytes
		d.plain, d.bulk = false, false
		return false
	}
	d.n, d.err = 0, err
	return true
}

// carryPipe is carry, of what is in the pipe.
func (d *Direction) carryPipe() (n int, why *Outcome) {
	n, err := d.drain()
	d.carried(n)
	if err == nil {
		pipes.put(d.pipe)
	} else {
		why = &Outcome{Write: err}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			why.Left, _ = d.pipe.Take() // it can be read
		}
		pipes.remove(d.pipe)
	}
	d.pipe = nil
	return n, why
}

// drain moves on what is in the pipe, as there is room, and returns how much that is.
func (d *Direction) drain() (n int, err error) {
	for {
		m, err := d.pipe.Drain(d.to)
		n += m
		if err != nil || d.pipe.Held() == 0 {
			return n, err
		}
		if m > 0 {
			continue
		}
		if err := d.awaitRoom(); err != nil {
			return n, err
		}
	}
}

// pool is pipes that nobody uses. They stay open for the next. Safe for concurrent use.
type pool struct {
	mu   sync.Mutex
	all  int // that there are
	idle []*conn.Pipe
}

var pipes pool

// get returns a pipe that is empty; nil if there is none.
func (p *pool) get() *conn.Pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		pipe := p.idle[last]
		p.idle = p.idle[:last]
		return pipe
	}
	if p.all == maxPipes {
		return nil
	}
	pipe, err := conn.NewPipe()
	if err != nil { // there are no descriptors
		return nil
	}
	p.all++
	return pipe
}

// put takes back a pipe that is empty.
func (p *pool) put(pipe *conn.Pipe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, pipe)
}

// remove closes a pipe that is not empty.
func (p *pool) remove(pipe *conn.Pipe) {
	pipe.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
}
