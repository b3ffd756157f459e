// Package pump carries streams from one connection to another. A Direction carries one stream. A
// Pump carries both of a client, to and from a pair of sockets: it is for what cannot have the
// connection itself, as the daemon speaks TLS on it; a program, or a session process, has the other
// end of the pair.
//
// What has arrived is taken from its connection only once it is in the other: one that is read
// slowly waits, and nothing piles up here. An end of the stream is carried in either direction. A
// client that waits costs two goroutines and no buffer.
package pump

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
)

// Options are what a pump depends on.
type Options struct {
	// WriteOnly has nothing of the client read: somebody else reads it, and the other end of
	// the pair finds the end of the stream.
	WriteOnly bool
	// Over reports whether no more is to be carried to the pair than has arrived. It is asked
	// when a wait for the client ends early, by conn.Conn's Wake and Expire.
	Over func() bool
	// Settled is called when Pump.Settled may have become true, on a goroutine of the pump,
	// which may not End meanwhile; nil: nobody is told.
	Settled func()
}

// Pump is at work from Start to End. Its other methods may be called from any goroutine.
type Pump struct {
	opt     Options
	in, out Direction

	ended   chan struct{} // closed when out has ended
	reading sync.WaitGroup
	carried atomic.Bool // in has ended
	ending  atomic.Bool
	hurried atomic.Bool

	mu          sync.Mutex
	read, write error // of the client's connection
}

// Start makes a pair of sockets and carries from now on. Until End nobody else may read the client,
// unless WriteOnly is set, or write to it. theirs is the other end of the pair, which does not
// block; it is closed once somebody else has it.
func Start(client conn.Conn, opt Options) (p *Pump, theirs conn.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, err := conn.NewPoll(fds[0])
	if err != nil {
		_ = unix.Close(fds[1]) // nothing was written
		return nil, nil, err
	}
	// A Thread, as nobody here waits for it.
	return start(client, ours, opt), conn.NewThread(fds[1], nil), nil
}

func start(client, pair conn.Conn, opt Options) *Pump {
	p := &Pump{opt: opt, ended: make(chan struct{})}
	p.in = Direction{From: client, To: pair, Spare: true}
	p.out = Direction{From: pair, To: client, OnBlock: opt.Settled}
	if opt.WriteOnly {
		pair.CloseWrite()
		p.carried.Store(true)
	} else {
		p.reading.Go(p.carryIn)
	}
	go p.carryOut()
	return p
}

// carryIn carries what the client sends.
func (p *Pump) carryIn() {
	why := p.in.Run(func() Verdict { return finishIf(p.ending.Load() || p.opt.Over()) })
	p.fail(&p.read, why.Read)
	if why.Ended || why.Read != nil {
		p.in.To.CloseWrite()
	}
	p.carried.Store(true)
	if p.opt.Settled != nil {
		p.opt.Settled()
	}
}

// carryOut carries what is sent to the client. An error of the pair is an end: its other
// end was closed before all that the client has sent was read.
func (p *Pump) carryOut() {
	defer close(p.ended)
	why := p.out.Run(func() Verdict { return finishIf(p.ending.Load()) })
	if why.Write == nil {
		p.out.To.CloseWrite()
	}
	if !errors.Is(why.Write, os.ErrDeadlineExceeded) { // else we have stopped
		p.fail(&p.write, why.Write)
	}
	// Whoever writes on is told.
	p.out.From.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RD) })
}

func finishIf(over bool) Verdict {
	if over {
		return Finish
	}
	return Continue
}

// fail notes an error of the client's connection.
func (p *Pump) fail(to *error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*to = err
}

// Err returns the errors of the client's connection by which either direction has ended; nil for
// one that goes on, or has ended well.
func (p *Pump) Err() (read, write error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read, p.write
}

// Settled reports whether the pair's other end waits in vain for more of what has arrived: all of
// it was carried, or the client takes nothing, so that the other end may be waiting for that rather
// than reading.
func (p *Pump) Settled() bool { return p.carried.Load() || p.out.Blocked() }

// Bytes returns how many bytes of the client were carried to the pair, and how many to the client.
func (p *Pump) Bytes() (in, out int64) { return p.in.Bytes(), p.out.Bytes() }

// Hurry has End wait for the client no longer.
func (p *Pump) Hurry() {
	p.hurried.Store(true)
	if p.ending.Load() {
		p.out.To.Expire()
	}
}

// End carries to the client what was written to the pair by now, and ends. Whoever wrote it has
// ended. A client that does not take it has patience, or until Hurry; what the connection's buffer
// has room for, it gets in any case. Nothing of the pump is left running. It is called once.
func (p *Pump) End(patience time.Duration) {
	p.ending.Store(true)
	if p.hurried.Load() {
		p.out.To.Expire()
	}
	late := time.AfterFunc(patience, p.out.To.Expire)
	p.out.From.Wake()
	<-p.ended
	late.Stop()
	p.out.From.Expire() // and with it who waits for room in the pair
	if !p.opt.WriteOnly {
		p.out.To.Wake()
	}
	p.reading.Wait()
	p.out.From.Close()
}
