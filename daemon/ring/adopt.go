package ring

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Adopt walks the queue that another process has left and gives each connection to take, once, with its cookie and a descriptor
// that is take's from then on. take returns the entry to know it by, and has to keep the descriptor open until Retire; or nil when it
// does not want it. It must not call the ring. Nothing is taken out of the queue meanwhile: killed at any moment, we leave it as it
// was. With an error some of the connections are not adopted. Call it first and once.
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
	seen map[uint64]*Entry // nil: taken and not wanted
	oob  [4096]byte
}

// next adopts what is in the next message, and says false when there is none.
func (a *adoption) next() (more bool, err error) {
	var b [1]byte
	n, oobn, flags, _, err := unix.Recvmsg(a.ring.out, b[:], a.oob[:], unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
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
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = errors.New("the process may not have as many descriptors as there are connections in the ring: set LimitNOFILE= to twice the clients")
	}
	if err != nil {
		m.living++ // who is in it and was not adopted stays connected
	}
	return true, err
}

// adopt takes one connection, or the newer duplicate of one.
func (a *adoption) adopt(m *message, fd int) {
	m.count++
	a.ring.inFlight++
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		_ = unix.Close(fd) // it is no socket, and none of ours
		return
	}
	e, again := a.seen[cookie]
	switch {
	case again:
		_ = unix.Close(fd) // nothing was written
		if e != nil {
			e.at.living--
		}
	default:
		if e = a.take(fd, cookie); e != nil {
			e.fd, e.known = fd, true
			a.ring.living++
		}
		a.seen[cookie] = e
	}
	if e != nil {
		e.at = m
		m.entries = append(m.entries, e)
		m.living++
	}
}

// rights are the descriptors that came with a message.
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

// growTable makes room for n more descriptors at once: each doubling of the table, in a process of several threads, waits for all
// processors.
func growTable(n int) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return // it grows by itself
	}
	if fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, int(min(uint64(n), files.Cur-1))); err == nil {
		_ = unix.Close(fd) // the table is as large as it made it
	}
}
