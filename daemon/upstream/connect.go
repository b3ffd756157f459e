package upstream

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/sockopt"
)

// connect makes a connection, until the deadline.
func (d *Dialer) connect(ctx context.Context, a *attempt, by time.Time) (*conn.Poll, error) {
	fd, err := d.begin(ctx, a, by)
	if err != nil {
		return nil, err
	}
	p, err := conn.NewPoll(fd)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, p.Expire)
	p.SetWriteDeadline(by)
	err = p.AwaitRoom()
	p.SetWriteDeadline(time.Time{})
	if !stop() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	if err == nil {
		p.Control(func(fd uintptr) { err = pending(int(fd)) })
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// fullPause is how long connect waits for a place in the backlog of a unix socket.
const fullPause = 20 * time.Millisecond

// begin returns a socket that is connected, or is about to be.
func (d *Dialer) begin(ctx context.Context, a *attempt, by time.Time) (int, error) {
	family, to := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: a.path})
	if a.path == "" {
		family, to = unix.AF_INET, sockaddr.To(a.addr, a.addr.Addr().Zone())
		if a.addr.Addr().Is6() {
			family = unix.AF_INET6
		}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := sockopt.Set(fd, d.lost); err != nil {
		_ = unix.Close(fd) // nothing was sent
		return -1, err
	}
	for {
		err = own.connect(fd, to, a)
		if err != unix.EAGAIN || a.path == "" || !pause(ctx, by) {
			break
		}
	}
	switch err {
	case nil, unix.EINPROGRESS, unix.EINTR: // as the latter goes on too
		return fd, nil
	case unix.EAGAIN:
		err = unix.ETIMEDOUT
	}
	_ = unix.Close(fd) // nothing was sent
	return -1, os.NewSyscallError("connect", err)
}

// pause waits before the next try, as the kernel has no event for a place in a unix socket's
// backlog. It reports whether there is time for one.
func pause(ctx context.Context, by time.Time) bool {
	timer := time.NewTimer(min(fullPause, time.Until(by)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return time.Now().Before(by)
	case <-ctx.Done():
		return false
	}
}

// pending returns how connecting went.
func pending(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return os.NewSyscallError("connect", err)
}
