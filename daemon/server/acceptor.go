package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// After an accept that failed, the next is tried after acceptRetryMin, doubling to acceptRetryMax.
const (
	acceptRetryMin = 5 * time.Millisecond
	acceptRetryMax = time.Second
)

// fullInterval is the shortest pause between two log lines that say that new clients wait for a
// place.
const fullInterval = time.Minute

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// acceptor is the accept loop of one socket.
type acceptor struct {
	server  *Server
	binding *Binding
	raw     syscall.RawConn       // of the socket
	tryNext func(fd uintptr) bool // take: made once, and not with each call of next
	// What the last take has accepted.
	accepted struct {
		fd   int
		peer syscall.Sockaddr
		err  error
	}
	pings chan chan struct{} // the loop closes each, to show that it runs
	quit  chan struct{}      // closed when the loop is to end
	done  chan struct{}      // closed when it has

	// One run of failures.
	failures int
	since    time.Time

	full     *slots    // the places of which none is free
	reported time.Time // when it was last logged that new clients wait
}

func newAcceptor(s *Server, b *Binding) (*acceptor, error) {
	raw, err := b.Listener.File.SyscallConn()
	a := &acceptor{
		server: s, binding: b, raw: raw,
		pings: make(chan chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	a.tryNext = a.take
	return a, err
}

// accept4 is that of package syscall, as the one of x/sys/unix also asks for the socket's protocol.
func accept4(fd int) (int, syscall.Sockaddr, error) {
	return syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
}

// run accepts connections until it is stopped.
func (a *acceptor) run() error {
	for {
		if a.interrupted() {
			return a.takeBacklog()
		}
		fd, peer, err := a.next()
		switch {
		case err == nil:
			a.recovered()
			a.server.admit(a.binding, fd, peer)
		case errors.Is(err, errFull):
			a.awaitPlace()
		case errors.Is(err, os.ErrDeadlineExceeded): // by wake
			// It takes deadlines.
			_ = a.binding.Listener.File.SetReadDeadline(time.Time{})
		case !temporary(err):
			return fmt.Errorf("%v: accept: %w", a.binding.Listener, err)
		default:
			a.pause(err)
		}
	}
}

// interrupted answers a ping, and then reports whether the loop is to end. Both are looked at each
// time: to be woken for two reasons is to be woken once.
func (a *acceptor) interrupted() (end bool) {
	select {
	case answer := <-a.pings:
		close(answer)
	default:
	}
	select {
	case <-a.quit:
		return true
	default:
		return false
	}
}

// errFull reports that a client is waiting and no place is free.
var errFull = errors.New("no place is free")

// next waits for a connection. A place is taken before it is accepted, so that the surplus waits in
// the kernel's backlog, and not before there is one, so that a listener without clients takes no
// place from another.
func (a *acceptor) next() (fd int, peer syscall.Sockaddr, err error) {
	if err := a.raw.Read(a.tryNext); err != nil {
		return -1, nil, err
	}
	return a.accepted.fd, a.accepted.peer, a.accepted.err
}

// take accepts a connection if there is one. It reports whether next has something to return.
func (a *acceptor) take(lfd uintptr) bool {
	got := &a.accepted
	if a.full = a.server.takePlace(a.binding); a.full != nil {
		got.err = errFull
		return true
	}
	got.fd, got.peer, got.err = a.server.accept(int(lfd))
	if got.err != nil {
		a.server.releasePlace(a.binding)
	}
	return got.err != syscall.EAGAIN && got.err != syscall.EINTR
}

// awaitPlace waits until a place may be free. That new clients wait is logged, though not each
// time: at the limit it begins and ends often.
func (a *acceptor) awaitPlace() {
	if time.Since(a.reported) >= fullInterval {
		a.reported = time.Now()
		what := "as many clients as limits.clients allows, new ones wait"
		if a.full != a.server.slots {
			what = "as many clients as the listener's limits.clients allows, new ones wait"
		}
		a.server.env.Log.Warn(what, "listener", a.binding.Listener.Name, "clients", a.server.Clients())
	}
	select {
	case <-a.full.freed:
	case answer := <-a.pings:
		close(answer)
	case <-a.quit:
	}
}

// pause waits before the next try, longer each time. A run of failures is logged when it starts.
func (a *acceptor) pause(err error) {
	if a.failures == 0 {
		a.since = time.Now()
		a.server.env.Log.Warn("accept fails, new clients wait",
			"listener", a.binding.Listener.Name, "err", os.NewSyscallError("accept", err))
	}
	a.failures++
	if exhausted(err) && time.Since(a.since) >= shedAfter {
		a.shed()
	}
	timer := time.NewTimer(min(acceptRetryMin<<min(a.failures-1, 20), acceptRetryMax))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case answer := <-a.pings:
			close(answer)
		case <-a.quit:
			return
		}
	}
}

// recovered logs that a run of failures is over.
func (a *acceptor) recovered() {
	if a.failures > 0 {
		a.server.env.Log.Info("accept works again", "listener", a.binding.Listener.Name,
			"failures", a.failures, "duration", time.Since(a.since).Round(time.Millisecond))
		a.failures = 0
	}
}

// takeBacklog accepts the connections that wait in the backlog of a socket that is closed with this
// process: they were made in good faith, and their clients may have sent something. Those of
// systemd's socket wait for the next process.
func (a *acceptor) takeBacklog() error {
	s, b := a.server, a.binding
	if err := b.Listener.Unlink(); err != nil {
		s.env.Log.Warn("socket cannot be removed", "listener", b.Listener.Name, "err", err)
	}
	for !b.Listener.Inherited {
		if s.takePlace(b) != nil {
			s.env.Log.Warn("clients in the backlog are turned away: there are too many", "listener", b.Listener.Name)
			return ErrServerClosed
		}
		fd, peer, err := -1, syscall.Sockaddr(nil), error(nil)
		cerr := a.raw.Control(func(lfd uintptr) { fd, peer, err = s.accept(int(lfd)) })
		if cerr == nil && err == nil {
			s.admit(b, fd, peer)
			continue
		}
		s.releasePlace(b)
		if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EPROTO) {
			continue // that one has gone; the others have not
		}
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			s.env.Log.Warn("clients in the backlog are turned away",
				"listener", b.Listener.Name, "err", os.NewSyscallError("accept", err))
		}
		break
	}
	return ErrServerClosed
}

// stop has the loop end. It is called with the server's lock held, and may be called again.
func (a *acceptor) stop() {
	select {
	case <-a.quit:
		return
	default:
	}
	close(a.quit)
	a.wake()
}

// wake has a loop that waits for a connection look around.
func (a *acceptor) wake() {
	_ = a.binding.Listener.File.SetReadDeadline(longAgo) // on an error the loop has ended
}

// ping returns nil once the loop has answered or has ended, or ctx's error if it has not by then.
func (a *acceptor) ping(ctx context.Context) error {
	answer := make(chan struct{})
	select {
	case a.pings <- answer:
	case <-a.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	a.wake()
	select {
	case <-answer:
		return nil
	case <-a.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// temporary reports whether an error of accept passes, or is one of a single connection
// (accept(2)), so that the loop goes on. An error that is no errno is the poller's: the socket is
// closed.
func temporary(err error) bool {
	errno, ok := errors.AsType[unix.Errno](err)
	switch errno {
	case unix.EBADF, unix.EINVAL, unix.ENOTSOCK, unix.EOPNOTSUPP:
		return false
	}
	return ok
}
