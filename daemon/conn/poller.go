package conn

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The poller wakes all Polls of the process. Go's own, which only files of package os have, would
// take 0.6 KiB more for each of them, a system call more, and tell it of room to write that it does
// not wait for.
//
// It is an epoll instance (epoll(7)), edge-triggered, whose descriptor is in Go's poller: so no
// thread waits for it, and who is woken goes on as any other goroutine does.
var poller struct {
	once  sync.Once
	err   error
	epoll uintptr
	table table
}

// startPoller starts the poller, if it does not run.
func startPoller() error {
	poller.once.Do(func() { poller.err = runPoller() })
	return poller.err
}

func runPoller() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or it would not be in Go's poller
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	poller.epoll = uintptr(fd)
	go poll(raw)
	return nil
}

// poll tells of events for as long as the process lives.
func poll(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, 128)
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n := ready(fd, events)
			for i := range events[:n] {
				if p := poller.table.at(int(events[i].Fd)); p != nil {
					p.tell(events[i].Events)
				}
			}
			if n < len(events) { // else there may be more, of which Go's poller has told
				return false
			}
			runtime.Gosched()
		}
	})
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
func watch(p *Poll, from, to uint32) error {
	op := unix.EPOLL_CTL_MOD
	if from == 0 {
		op = unix.EPOLL_CTL_ADD
		poller.table.set(int(p.socket), p)
	}
	event := unix.EpollEvent{Events: to | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(p.socket)}
	if err := unix.EpollCtl(int(poller.epoll), op, int(p.socket), &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// unwatch ends that. A close alone would not, if somebody else has the connection too: such as
// systemd, which keeps it.
func unwatch(p *Poll) {
	_ = unix.EpollCtl(int(poller.epoll), unix.EPOLL_CTL_DEL, int(p.socket), nil) // it is there
	poller.table.set(int(p.socket), nil)
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
