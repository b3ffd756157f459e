package worker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// channel is the process's end of the pair of sockets: frames of the daemon come from it, and the
// connections that belong to them. One goroutine reads; others may write to file.
type channel struct {
	file   *os.File
	raw    syscall.RawConn
	frames *bufio.Reader // of receiver
	header []byte        // of the frame under way
	small  []byte        // its body, unless that is a setup
	oob    [64]byte
	passed int // the connection that came with the last setup; -1: none
}

func newChannel(fd int) (*channel, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("channel to the daemon, which alone starts session processes: %w",
			os.NewSyscallError("fcntl", err))
	}
	c := &channel{file: os.NewFile(uintptr(fd), "channel"), passed: -1}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	c.raw = raw
	c.frames = bufio.NewReaderSize(receiver{c}, 512)
	c.header, c.small = make([]byte, frameHeaderSize), make([]byte, max(controlSize, answerSize))
	return c, nil
}

// next waits for the next frame. The body of a setup stays; any other is valid until the next call.
// io.EOF is that the daemon has closed the channel, or is gone.
func (c *channel) next() (kind frameKind, body []byte, err error) {
	h, err := toProcess.readHeader(c.frames, c.header)
	if err != nil {
		return 0, nil, err
	}
	if h.Kind == frameSetup {
		body = make([]byte, h.Size)
	} else {
		body = c.small[:h.Size]
	}
	if _, err := io.ReadFull(c.frames, body); err != nil {
		return 0, nil, err
	}
	return h.Kind, body, nil
}

// connection returns the one that came with the setup just read.
func (c *channel) connection() (fd int, err error) {
	fd = c.passed
	if fd < 0 {
		return -1, fmt.Errorf("receive connection: %w", errProtocol)
	}
	c.passed = -1
	return fd, nil
}

// receiver reads bytes from the channel, and keeps the connection that comes with them. There is
// one at most: the next setup is not sent before its session has ended.
type receiver struct{ *channel }

// Read implements io.Reader. A descriptor is kept for connection; anything else in a control
// message is errProtocol, with the bytes that came with it.
func (r receiver) Read(b []byte) (n int, err error) {
	var oobn int
	rerr := r.raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, err = unix.Recvmsg(int(fd), b, r.oob[:], unix.MSG_CMSG_CLOEXEC)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if err = errors.Join(rerr, os.NewSyscallError("recvmsg", err)); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	if oobn > 0 {
		err = r.keep(r.oob[:oobn])
	}
	return n, err
}

// keep keeps the connection of a control message.
func (c *channel) keep(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("receive connection: %w", errors.Join(err, errProtocol))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("receive connection: %w", errors.Join(err, errProtocol))
	}
	c.passed = fds[0]
	return nil
}
