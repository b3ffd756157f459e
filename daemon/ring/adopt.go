package ring

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Adopt walks the queue that another process has left. It calls take once for each connection, with
// the connection's cookie and a descriptor that take owns. take returns the entry for the
// connection and keeps the descriptor open until Retire; or it returns nil, and the ring forgets
// the connection. take must not call the ring. Nothing is taken out of the queue meanwhile: a
// process that is killed leaves it as it was. After an error some of the connections are not
// adopted. Call Adopt once, before any other method.
func (r *Ring) Adopt(take func(fd int, cookie uint64) *Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := unix.IoctlGetInt(r.out, unix.SIOCINQ)
	if err != nil || n == 0 {
		return os.NewSyscallError("ioctl", err)
	}
	growTable(n * perMessage)
	if err := unix.SetsockoptInt(r.out, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	a := adoption{ring: r, take: take, seen: make(map[uint64]*Entry)}
	var errs []error
	for {
		more, err := a.next()
		if err != nil {
			errs = append(errs, err)
		}
		if !more {
			break
		}
	}
	return errors.Join(append(errs, r.drop())...)
}

// adoption is a walk through the queue.
type adoption struct {
	ring *Ring
	take func(fd int, cookie uint64) *Entry
	seen map[uint64]*Entry // nil: take did not want it
	oob  [4096]byte
}

// errTruncated reports that the kernel could not give us all descriptors of a message.
var errTruncated = errors.New("the process may not have as many descriptors as there are connections " +
	"in the ring: set LimitNOFILE= to twice the clients")

// next adopts the connections of the next message. It returns false after the last message.
func (a *adoption) next() (more bool, err error) {
	var b [1]byte
	const flags = unix.MSG_PEEK | unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
	n, oobn, got, _, err := unix.Recvmsg(a.ring.out, b[:], a.oob[:], flags)
	switch {
	case err == unix.EINTR:
		return true, nil
	case err == unix.EAGAIN, err == nil && n == 0:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("walk the ring: %w", os.NewSyscallError("recvmsg", err))
	}
	m := &message{}
	a.ring.queue = append(a.ring.queue, m)
	fds, err := rights(a.oob[:oobn])
	for _, fd := range fds {
		a.adopt(m, fd)
	}
	if err == nil && got&unix.MSG_CTRUNC != 0 {
		err = errTruncated
	}
	if err != nil {
		m.live++ // the message stays, and with it the connections that were not adopted
	}
	return true, err
}

// adopt takes one connection, or a newer duplicate of a connection that was taken.
func (a *adoption) adopt(m *message, fd int) {
	m.count++
	a.ring.inFlight++
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		_ = unix.Close(fd) // it is no socket, and not ours
		return
	}
	e, again := a.seen[cookie]
	switch {
	case again:
		_ = unix.Close(fd) // nothing was written
		if e != nil {
			e.at.live--
		}
	default:
		if e = a.take(fd, cookie); e != nil {
			e.fd, e.known = int32(fd), true
			a.ring.live++
		}
		a.seen[cookie] = e
	}
	if e != nil {
		e.at = m
		m.entries = append(m.entries, e)
		m.live++
	}
}

// rights returns the descriptors that came with a message.
func rights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("walk the ring: %w", err)
	}
	for _, m := range msgs {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, fmt.Errorf("walk the ring: %w", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// growTable enlarges the descriptor table by n at once. Each time the kernel doubles the table of a
// process with several threads, it waits for all processors.
func growTable(n int) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return // the table grows by itself
	}
	highest := int(min(uint64(n), files.Cur-1))
	if fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, highest); err == nil {
		_ = unix.Close(fd) // the table keeps its size
	}
}
