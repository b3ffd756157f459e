package conn

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The poller wakes all Polls of the process. Go's own, which only files of package os have, would
// take 0.6 KiB more for each of them, a system call more, and tell it of room to write that it does
// not wait for.
//
// It is an epoll instance (epoll(7)), edge-triggered, whose descriptor is in Go's poller: so no
// thread waits for it, and who is woken goes on as any other goroutine does.
var poller epoller

// epoller is a poller. The zero value is one that does not run.
type epoller struct {
	runs  atomic.Bool
	mu    sync.Mutex // of start
	epoll uintptr
	table table
}

// start starts the poller, if it does not run. It may be tried again.
func (e *epoller) start() error {
	if e.runs.Load() {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runs.Load() {
		return nil
	}
	if err := e.run(); err != nil {
		return err
	}
	e.runs.Store(true)
	return nil
}

func (e *epoller) run() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or it would not be in Go's poller
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	// This fails if it is not in Go's poller after all.
	if err := errors.Join(err, file.SetDeadline(time.Time{})); err != nil {
		return errors.Join(err, file.Close())
	}
	e.epoll = uintptr(fd)
	go e.poll(raw)
	return nil
}

// poll tells of events for as long as the process lives.
func (e *epoller) poll(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, 128)
	err := raw.Read(func(fd uintptr) bool {
		for {
			n := ready(fd, events)
			for i := range events[:n] {
				if p := e.table.at(int(events[i].Fd)); p != nil {
					p.tell(events[i].Events)
				}
			}
			if n < len(events) { // else there may be more, of which Go's poller has told
				return false
			}
			// Those that are woken go on first, while what they need is in the
			// processor's cache.
			runtime.Gosched()
		}
	})
	panic(err) // nobody would ever be woken
}

// ready returns how many events there are, which it never waits for.
func ready(fd uintptr, events []unix.EpollEvent) int {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.EINTR:
		default:
			panic(os.NewSyscallError("epoll_wait", errno)) // nobody would ever be woken
		}
	}
}

// watch changes what the poller watches a connection for.
func (e *epoller) watch(p *Poll, from, to uint32) error {
	event := unix.EpollEvent{Events: to | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(p.socket)}
	op := unix.EPOLL_CTL_MOD
	if from == 0 {
		op = unix.EPOLL_CTL_ADD
		e.table.set(int(p.socket), p)
	}
	err := unix.EpollCtl(int(e.epoll), op, int(p.socket), &event)
	if err != nil && from == 0 {
		e.table.set(int(p.socket), nil)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// unwatch ends that. A close alone would not, if somebody else has the connection too: such as
// systemd, which keeps it.
func (e *epoller) unwatch(p *Poll) {
	_ = unix.EpollCtl(int(e.epoll), unix.EPOLL_CTL_DEL, int(p.socket), nil) // it is there
	e.table.set(int(p.socket), nil)
}

// table is the Polls that are watched, by descriptor. An event of one that was just closed may find
// the next one with its descriptor, which then looks in vain. Safe for concurrent use.
type table struct {
	mu     sync.Mutex // of set
	blocks atomic.Pointer[[]*block]
}

// block is the Polls with successive descriptors.
type block [512]atomic.Pointer[Poll]

// at returns the Poll of a descriptor; nil: there is none.
func (t *table) at(fd int) *Poll {
	blocks, i := t.blocks.Load(), fd/len(block{})
	if blocks == nil || i >= len(*blocks) {
		return nil
	}
	return (*blocks)[i][fd%len(block{})].Load()
}

// set sets the Poll of a descriptor.
func (t *table) set(fd int, p *Poll) {
	blocks, i := t.blocks.Load(), fd/len(block{})
	if blocks == nil || i >= len(*blocks) {
		blocks = t.grow(i + 1)
	}
	(*blocks)[i][fd%len(block{})].Store(p)
}

// grow makes at least n blocks of it.
func (t *table) grow(n int) *[]*block {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*block
	if blocks := t.blocks.Load(); blocks != nil {
		all = append(all, *blocks...)
	}
	for len(all) < n {
		all = append(all, new(block))
	}
	t.blocks.Store(&all)
	return &all
}
