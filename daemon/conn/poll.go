package conn

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"tcpmux/daemon/sockaddr"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// Interruptions of a Poll, as bits.
const (
	woken   = 1 << iota // the next Wait returns
	expired             // no Wait and no Write waits any more
)

// Poll is a connection whose goroutine sleeps in Go's poller.
type Poll struct {
	socket
	interrupted atomic.Uint32
	file        *os.File
	raw         syscall.RawConn
	try         func() bool
	onReady     func(fd uintptr) bool // calls try
}

// NewPoll returns a Conn for a non-blocking descriptor, which is closed on an error.
func NewPoll(fd int) (*Poll, error) {
	p := &Poll{socket: socket(fd), file: os.NewFile(uintptr(fd), "")}
	p.onReady = func(uintptr) bool { return p.try() }
	var err error
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	return p, nil
}

// Wait implements Conn.
func (p *Poll) Wait(try func() bool) error {
	p.try = try
	err := p.raw.Read(p.onReady)
	if err != nil && p.interrupted.Load() != 0 {
		// Whatever ended the wait, the caller looks around now.
		p.interrupted.And(^uint32(woken))
	}
	return err
}

// Write implements Conn. The error has no operation and no file name.
func (p *Poll) Write(b []byte) error {
	_, err := p.file.Write(b)
	if wrapped, ok := errors.AsType[*os.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

// A socket takes deadlines: setting one fails only when it is closed, and then nobody waits. A
// deadline that is set last wins, so one that follows an interruption must not undo it.

// SetReadDeadline implements Conn.
func (p *Poll) SetReadDeadline(t time.Time) {
	_ = p.file.SetReadDeadline(t)
	if p.interrupted.Load() != 0 {
		_ = p.file.SetReadDeadline(longAgo)
	}
}

// SetWriteDeadline implements Conn.
func (p *Poll) SetWriteDeadline(t time.Time) {
	_ = p.file.SetWriteDeadline(t)
	if p.interrupted.Load()&expired != 0 {
		_ = p.file.SetWriteDeadline(longAgo)
	}
}

// Wake implements Conn.
func (p *Poll) Wake() {
	p.interrupted.Or(woken)
	_ = p.file.SetReadDeadline(longAgo)
}

// Expire implements Conn.
func (p *Poll) Expire() {
	p.interrupted.Or(woken | expired)
	_ = p.file.SetDeadline(longAgo)
}

// CloseWrite implements Conn.
func (p *Poll) CloseWrite() { p.Control(closeWrite) }

// HangUp implements Conn.
func (p *Poll) HangUp() { p.Control(HangUp) }

// LocalAddr implements Conn.
func (p *Poll) LocalAddr() sockaddr.Local { return localAddr(p) }

// Control implements Conn.
func (p *Poll) Control(f func(fd uintptr)) { _ = p.raw.Control(f) } // it fails only when closed

// Close implements Conn.
// What matters was read; the client learns of the end anyway.
func (p *Poll) Close() { _ = p.file.Close() }
