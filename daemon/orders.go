package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// orders is the child's end of the channel: it reads what the daemon orders, and the connections that come with it.
type orders struct {
	*bufio.Reader
	channel *os.File
	raw     syscall.RawConn
	oob     [64]byte
	passed  int // the connection that came with the last hello; -1: none
}

func newOrders(fd int) (*orders, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("channel to the daemon, which alone starts session processes: %w", os.NewSyscallError("fcntl", err))
	}
	o := &orders{channel: os.NewFile(uintptr(fd), "channel"), passed: -1}
	raw, err := o.channel.SyscallConn()
	if err != nil {
		return nil, err
	}
	o.raw = raw
	o.Reader = bufio.NewReaderSize(receiver{o}, 512)
	return o, nil
}

// connection is the one that came with the hello just read.
func (o *orders) connection() (int, error) {
	fd := o.passed
	if fd < 0 {
		return -1, fmt.Errorf("receive connection: %w", errParcel)
	}
	o.passed = -1
	return fd, nil
}

// receiver reads the bytes of orders, and keeps the connection that comes with them. There is one at most: the next hello is not
// sent before its session has ended.
type receiver struct{ *orders }

// Read is that of io.Reader, and waits for the daemon. io.EOF says that the daemon has closed the channel, or is gone. A descriptor is
// kept for connection; anything else in a control message is errParcel, with the bytes that came beside it.
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
func (o *orders) keep(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("receive connection: %w", errors.Join(err, errParcel))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("receive connection: %w", errors.Join(err, errParcel))
	}
	o.passed = fds[0]
	return nil
}
