package daemon

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

// fullInterval is how often it is told, at the most, that new clients wait for a slot.
const fullInterval = time.Minute

// acceptor is the accept loop of one listener.
type acceptor struct {
	server *Server
	ln     *listener
	raw    syscall.RawConn
	accept func(fd int) (int, syscall.Sockaddr, error) // accept4(2), but for tests
	asked  chan chan struct{}                          // each is closed by the loop, to show that it turns
	quit   chan struct{}                               // closed when the loop is to end
	done   chan struct{}                               // closed when it has

	// One run of failures.
	failed int
	since  time.Time

	full *slots    // the places of which there is none
	told time.Time // when it was last told that new clients wait
}

func newAcceptor(s *Server, ln *listener) (*acceptor, error) {
	raw, err := ln.file.SyscallConn()
	return &acceptor{server: s, ln: ln, raw: raw, accept: accept4, asked: make(chan chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}, err
}

// accept4 is syscall's: that of x/sys/unix asks for the socket's protocol each time, a further system call.
func accept4(fd int) (int, syscall.Sockaddr, error) {
	return syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
}

// run accepts until it is stopped. A slot is taken first, so that the surplus waits in the kernel's backlog.
func (a *acceptor) run() error {
	for {
		if a.attend() {
			return a.takeBacklog()
		}
		fd, peer, err := a.next()
		switch {
		case err == nil:
			a.recovered()
			a.server.admit(a.ln, fd, peer)
		case errors.Is(err, errFull):
			a.queue()
		case errors.Is(err, os.ErrDeadlineExceeded): // woken, by ping or by Shutdown
			_ = a.ln.file.SetReadDeadline(time.Time{}) // it takes deadlines
		case !passing(err):
			return fmt.Errorf("%v: accept: %w", a.ln, err)
		default:
			a.pause(err)
		}
	}
}

// attend answers a ping and then says whether the loop should end. Both are looked at each time: to be woken for two reasons
// is to be woken once.
func (a *acceptor) attend() (end bool) {
	select {
	case r := <-a.asked:
		close(r)
	default:
	}
	select {
	case <-a.quit:
		return true
	default:
		return false
	}
}

// errFull is that a client waits and there is no slot for it.
var errFull = errors.New("no slot is free")

// next waits for a connection. A slot is taken before it is accepted, so that the surplus waits in the kernel's backlog; and
// not before there is one, so that a listener without clients takes no slot from another.
func (a *acceptor) next() (fd int, peer syscall.Sockaddr, err error) {
	rerr := a.raw.Read(func(lfd uintptr) bool {
		if a.full = a.server.takePlace(a.ln); a.full != nil {
			err = errFull
			return true
		}
		fd, peer, err = a.accept(int(lfd))
		if err != nil {
			a.server.releasePlace(a.ln)
		}
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
	if rerr != nil {
		return -1, nil, rerr
	}
	return fd, peer, err
}

// queue waits until a slot may be free. That new clients wait is told, though not each time: at the limit it comes and goes.
func (a *acceptor) queue() {
	if time.Since(a.told) >= fullInterval {
		a.told = time.Now()
		what := "as many clients as limits.clients allows, new ones wait"
		if a.full != a.server.slots {
			what = "as many clients as the listener's limits.clients allows, new ones wait"
		}
		a.server.log.Warn(what, "listener", a.ln.name, "clients", a.server.Clients())
	}
	select {
	case <-a.full.freed:
	case r := <-a.asked:
		close(r)
	case <-a.quit:
	}
}

// pause waits before the next try, longer each time. A run of failures is told when it starts.
func (a *acceptor) pause(err error) {
	if a.failed == 0 {
		a.since = time.Now()
		a.server.log.Warn("accept fails, new clients wait", "listener", a.ln.name, "err", os.NewSyscallError("accept", err))
	}
	a.failed++
	if exhausted(err) && time.Since(a.since) >= shedAfter {
		a.shed()
	}
	timer := time.NewTimer(min(acceptRetryMin<<min(a.failed-1, 20), acceptRetryMax))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case r := <-a.asked:
			close(r)
		case <-a.quit:
			return
		}
	}
}

// recovered tells that a run of failures is over.
func (a *acceptor) recovered() {
	if a.failed > 0 {
		a.server.log.Info("accept works again", "listener", a.ln.name, "failures", a.failed, "duration", time.Since(a.since).Round(time.Millisecond))
		a.failed = 0
	}
}

// takeBacklog takes in those who wait in the backlog of a socket that is closed with us, as they have connected in good
// faith and may have sent something. Those of systemd's socket wait for the next process.
func (a *acceptor) takeBacklog() error {
	for !a.ln.inherited {
		if a.server.takePlace(a.ln) != nil {
			a.server.log.Warn("clients in the backlog are turned away: there are too many", "listener", a.ln.name)
			return ErrServerClosed
		}
		fd, peer, err := -1, syscall.Sockaddr(nil), error(nil)
		cerr := a.raw.Control(func(lfd uintptr) { fd, peer, err = a.accept(int(lfd)) })
		if cerr == nil && err == nil {
			a.server.admit(a.ln, fd, peer)
			continue
		}
		a.server.releasePlace(a.ln)
		if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EPROTO) {
			continue // that one has gone; the others have not
		}
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			a.server.log.Warn("clients in the backlog are turned away", "listener", a.ln.name, "err", os.NewSyscallError("accept", err))
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

// wake makes a loop that waits for a connection look up.
func (a *acceptor) wake() {
	_ = a.ln.file.SetReadDeadline(longAgo) // on error the loop has ended
}

// ping returns nil once the loop has answered, or has ended; ctx's error when it has not by then.
func (a *acceptor) ping(ctx context.Context) error {
	answer := make(chan struct{})
	select {
	case a.asked <- answer:
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

// passing says whether an error of accept is one that goes by, or one of a single connection (accept(2)): the loop goes on.
// What is no errno comes from the poller: the listener was closed.
func passing(err error) bool {
	errno, ok := errors.AsType[unix.Errno](err)
	switch errno {
	case unix.EBADF, unix.EINVAL, unix.ENOTSOCK, unix.EOPNOTSUPP:
		return false
	}
	return ok
}
