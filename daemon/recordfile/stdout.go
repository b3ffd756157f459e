package recordfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Stdout is the path of standard output. That is written as it is: it has no lock, is not synced,
// and nothing is rotated.
const Stdout = "-"

// stdoutPatience is how long a Write waits for the reader of standard output. Then it fails, so
// that a reader that is slow or hangs is told from a daemon that does.
const stdoutPatience = 5 * time.Second

// pipeBuf is PIPE_BUF of Linux (pipe(7)): a pipe that poll(2) says can be written has room for it.
const pipeBuf = 4096

// stdout is standard output: a pipe, socket, terminal, device or file. Its descriptor is shared
// with other processes, so that it is never made non-blocking.
type stdout struct {
	fd       int
	socket   bool
	blocks   bool          // write(2) may block: it is called when poll(2) says that it does not
	patience time.Duration // as stdoutPatience
	// What was written of a line that is not whole, because a write failed in it. The next
	// write begins with the same line, and goes on.
	begun []byte
}

// openStdout opens standard output, which has a descriptor.
func openStdout(descriptor int) (*stdout, error) {
	var st unix.Stat_t
	if err := unix.Fstat(descriptor, &st); err != nil {
		return nil, err
	}
	flags, err := unix.FcntlInt(uintptr(descriptor), unix.F_GETFL, 0)
	if err != nil {
		return nil, err
	}
	kind := st.Mode & unix.S_IFMT
	switch access := flags & unix.O_ACCMODE; {
	case access == unix.O_RDONLY:
		return nil, errors.New("is not open for writing")
	case access == unix.O_RDWR && kind == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3):
		// Go's runtime opens it so in place of descriptors that are closed.
		return nil, errors.New("is closed, or is /dev/null, which would lose all records")
	}
	s := &stdout{socket: kind == unix.S_IFSOCK, patience: stdoutPatience}
	if kind == unix.S_IFIFO || kind == unix.S_IFCHR {
		// Another open file of the same pipe or terminal, which can be non-blocking. It
		// fails for a pipe of another user, and for one without a reader.
		const own = unix.O_WRONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
		if s.fd, err = unix.Open("/proc/self/fd/"+strconv.Itoa(descriptor), own, 0); err == nil {
			return s, nil
		}
		s.blocks = flags&unix.O_NONBLOCK == 0
	}
	s.fd, err = unix.FcntlInt(uintptr(descriptor), unix.F_DUPFD_CLOEXEC, 0)
	return s, err
}

// write writes lines. It returns how many bytes of whole lines are written; the others have to be
// written again.
func (s *stdout) write(lines []byte) (n int, err error) {
	until := time.Now().Add(s.patience)
	if !bytes.HasPrefix(lines, s.begun) { // the line is never completed, because a sink was closed
		if _, err := s.put([]byte("\n"), until); err != nil {
			return 0, err
		}
		s.begun = s.begun[:0]
	}
	at := len(s.begun)
	for m := 0; at < len(lines) && err == nil; at += m {
		m, err = s.put(lines[at:], until)
	}
	n = bytes.LastIndexByte(lines[:at], '\n') + 1
	s.begun = append(s.begun[:0], lines[n:at]...)
	return n, err
}

// put writes some bytes of b, and waits until the given time for a reader to make room.
func (s *stdout) put(b []byte, until time.Time) (n int, err error) {
	full := s.blocks
	for {
		if full {
			if err := s.wait(until); err != nil {
				return 0, err
			}
		}
		n, err := s.send(b)
		switch {
		case err == unix.EAGAIN:
			full = true
		case err == unix.EINTR:
		case err == nil && n == 0:
			return 0, io.ErrUnexpectedEOF
		default:
			return max(n, 0), err
		}
	}
}

// send is write(2), and does not block unless standard output is a file.
func (s *stdout) send(b []byte) (int, error) {
	switch {
	case s.socket:
		return unix.SendmsgN(s.fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	case s.blocks:
		b = b[:min(len(b), pipeBuf)]
	}
	return unix.Write(s.fd, b)
}

// wait waits until standard output can be written, or has no reader left.
func (s *stdout) wait(until time.Time) error {
	for {
		left := max(0, time.Until(until))
		polled := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(polled, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case err != nil && err != unix.EINTR:
			return err
		case n > 0:
			return nil
		case err == nil:
			return fmt.Errorf("its reader has not taken them within %v", s.patience)
		}
	}
}

// close closes the descriptor, but not standard output.
func (s *stdout) close() { _ = unix.Close(s.fd) } // everything is written

// toStdout is Write where no file is open.
func (f *File) toStdout(lines []byte) (n int, err error) {
	if f.stdout == nil {
		return 0, f.opt.fail("write", fs.ErrClosed)
	}
	if f.journal != nil {
		f.journal.Mark(0, 0, 0) // nobody can look what is in a pipe
	}
	n, err = f.stdout.write(lines)
	if f.journal != nil {
		f.journal.Wrote(n)
	}
	return n, f.opt.fail("write", err)
}
