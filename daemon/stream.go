package daemon

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// stream is a connection as a talk sees it: how one waits for it is the model's affair. Only the talk reads, writes and closes;
// wake, expire and control may be called from anywhere, also after close.
type stream interface {
	// read calls try when there may be something to read, until it says that there was; or it returns
	// os.ErrDeadlineExceeded.
	read(try func(fd uintptr) bool) error
	// write sends all of b, or returns os.ErrDeadlineExceeded.
	write(b []byte) error
	// setWriteDeadline is for writes that wait; the zero time is none.
	setWriteDeadline(time.Time)
	// setReadDeadline is for reads that wait; the zero time is none.
	setReadDeadline(time.Time)
	// wake makes a read that waits, or the next one, return os.ErrDeadlineExceeded. A threaded one looks when the bell is rung.
	wake()
	// expire is wake, and ends a write too.
	expire()
	// control calls f with the descriptor, unless it has been closed.
	control(f func(fd uintptr))
	close()
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// polled is a connection whose goroutine sleeps in Go's poller.
type polled struct {
	file *os.File
	raw  syscall.RawConn
}

func newPolled(fd int) (*polled, error) {
	c := &polled{file: os.NewFile(uintptr(fd), "")}
	var err error
	if c.raw, err = c.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	return c, nil
}

func (c *polled) read(try func(fd uintptr) bool) error { return c.raw.Read(try) }

func (c *polled) write(b []byte) error {
	_, err := c.file.Write(b)
	return err
}

// A socket takes deadlines: these fail only when it has been closed, and then nobody waits.

func (c *polled) setReadDeadline(t time.Time)  { _ = c.file.SetReadDeadline(t) }
func (c *polled) setWriteDeadline(t time.Time) { _ = c.file.SetWriteDeadline(t) }
func (c *polled) wake()                        { _ = c.file.SetReadDeadline(longAgo) }
func (c *polled) expire()                      { _ = c.file.SetDeadline(longAgo) }

func (c *polled) control(f func(fd uintptr)) { _ = c.raw.Control(f) } // it fails only when closed

func (c *polled) close() { _ = c.file.Close() } // all that matters has been read; the peer learns of it in any case
