package conn

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a Pipe is asked to hold. With it a user's pipes, as many as there may be,
// stay below what the kernel lets somebody without privileges have (pipe(7), pipe-user-pages-soft).
const pipeSize = 256 << 10

// Pipe carries bytes from one connection to another without copying them: the kernel moves its own
// pages (splice(2)). It is for one goroutine at a time, and never waits.
type Pipe struct {
	in, out int // descriptors: bytes go in, and come out
	held    int
}

// NewPipe returns an empty pipe.
func NewPipe() (*Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &Pipe{in: fds[1], out: fds[0]}
	_, _ = unix.FcntlInt(uintptr(p.in), unix.F_SETPIPE_SZ, pipeSize) // else it is of the usual size
	return p, nil
}

// Held returns how many bytes are in the pipe.
func (p *Pipe) Held() int { return p.held }

// Fill takes up to most bytes that have arrived, as far as the pipe has room. The result is that of
// Take, but that nothing may also mean an urgent byte: where it shows none, Peek tells.
func (p *Pipe) Fill(from *Poll, most int) (int, error) {
	n, err := splice(int(from.socket), p.in, most)
	p.held += max(n, 0)
	return n, err
}

// Drain sends what the send buffer has room for now, as TryWrite does.
func (p *Pipe) Drain(to *Poll) (int, error) {
	n, err := splice(p.out, int(to.socket), p.held)
	if err == unix.EAGAIN {
		return 0, nil
	}
	p.held -= max(n, 0)
	return max(n, 0), os.NewSyscallError("splice", err)
}

// Take removes all that is in the pipe, and returns it.
func (p *Pipe) Take() ([]byte, error) {
	b := make([]byte, p.held)
	for done := 0; done < len(b); {
		n, err := unix.Read(p.out, b[done:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, os.NewSyscallError("read", err)
		default:
			done += n
		}
	}
	p.held = 0
	return b, nil
}

// Close closes the pipe, with what is in it.
func (p *Pipe) Close() {
	_, _ = unix.Close(p.in), unix.Close(p.out) // what is in it is not wanted
}

func splice(from, to, most int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch err {
		case nil:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return -1, unix.EAGAIN // no allocation
		default:
			return -1, err
		}
	}
}
