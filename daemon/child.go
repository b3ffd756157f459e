package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/signals"
)

// ChildName is the argv[0] of a process that serves clients, one at a time: whoever is started under it calls Child and nothing else.
// Its argument is the daemon's process.
const ChildName = "tcpmux: session"

const (
	// childChannel is the descriptor of a child's end of the socket pair.
	childChannel = 3
	// childHeap is what the garbage collector keeps a child's heap to, as long as it can.
	childHeap = "64MiB"
)

// Child serves the clients that the daemon passes it, one after another, and returns the exit status. Its standard error is the
// daemon's. The process is killed in the moment in which the daemon ends, however it does.
func Child(args []string) int {
	// They are for the daemon, which gives its orders; a terminal or a service manager may signal the whole group.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	signals.Deliver()
	if err := serveChild(args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "tcpmux: session process: %v\n", err)
		return 1
	}
	return 0
}

func serveChild(args []string) error {
	orders, err := newOrders(childChannel)
	if err != nil {
		return err
	}
	if err := dieWith(args); err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: childMemory, Max: childMemory}
	if err := unix.Prlimit(0, unix.RLIMIT_DATA, &limit, nil); err != nil {
		return fmt.Errorf("limit memory: %w; a service's SystemCallFilter= has to allow prlimit64", os.NewSyscallError("prlimit", err))
	}
	if err := confine(); err != nil {
		return err
	}
	return newClerk(orders).obey()
}

// dieWith has the kernel kill the process when its daemon, which args name, ends: it could take from a socket what the next daemon
// has found there.
func dieWith(args []string) error {
	// The setting is one of the thread. The runtime ends none that is free again.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if len(args) != 1 || args[0] != strconv.Itoa(os.Getppid()) {
		return errors.New("the daemon that has started it has ended") // before the kernel knew
	}
	return nil
}

// clerk is who serves in a child: a server of one client at a time, which has the daemon write the records.
type clerk struct {
	orders   *orders
	post     *post
	server   *Server
	listener *listener
	session  *session // the last one; nil before the first
}

func newClerk(o *orders) *clerk {
	c := &clerk{orders: o, post: newPost(o.channel), listener: newListener(config.Listener{}, nil, false)}
	c.server = newServer(c.post, func() encoder { return parcelEncoder{c.post} }, false, 1, slog.New(slog.DiscardHandler))
	return c
}

// obey carries out the daemon's orders until there are no more; without a daemon there is nobody to write for. An order may come
// when the session has just ended: that does no harm.
func (c *clerk) obey() error {
	for {
		order, err := c.orders.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read orders: %w", err)
		}
		switch order {
		case orderHello:
			if err := c.hello(); err != nil {
				return err
			}
		case orderWritten, orderKept, orderNotKept:
			c.post.answered(order == orderKept)
		case orderDrain:
			c.session.finishing.Store(true)
			c.session.model.drain()
		case orderLeave:
			c.session.leaving.Store(true)
			c.session.model.handOver()
		case orderExpire:
			c.session.overdue.Store(true)
			c.session.model.expire()
		case orderBind:
			b, err := readBounds(c.orders)
			if err != nil {
				return fmt.Errorf("read orders: %w", err)
			}
			c.bind(b)
			c.session.model.nudge()
		default:
			return errParcel
		}
	}
}

// hello begins a session.
func (c *clerk) hello() error {
	h, err := readHello(c.orders)
	if err != nil {
		return fmt.Errorf("read hello: %w", err)
	}
	fd, err := c.orders.connection()
	if err != nil {
		return err
	}
	c.server.bannerTimeout = h.bannerTimeout
	c.server.notes = newNotes(c.post, h)
	c.bind(h.bounds)
	l := c.listener.settings.Load()
	l.banner, l.ack, l.AckTimeout, l.framing = fixedText(h.banner), newAck(h.ack), h.ackTimeout, h.framing
	c.session = beginSession(c.server, c.listener, record.Source{})
	c.session.opened = c.session.opened.Add(-h.age)
	c.session.finishing.Store(h.finishing)
	c.session.offset = h.offset
	c.session.past = &past{framing: h.memory, pieces: h.pieces, cut: h.cut, moved: h.moved}
	if h.silence > 0 {
		c.session.past.heard, c.session.past.unread = time.Now().Add(-h.silence), h.unread
	}
	if err := c.session.setModel(fd); err != nil {
		return err
	}
	go c.serve(c.session)
	return nil
}

// serve serves the client to the end, and tells the daemon, which may then pass the next.
func (c *clerk) serve(s *session) {
	why, err := s.model.serve()
	s.model.close()
	e := ending{offset: s.offset, framing: s.past.framing, pieces: s.past.pieces, why: why}
	if err != nil {
		e.err = err.Error()
	}
	_ = c.post.end(e) // it fails when the daemon has gone, and so does the next order
}
