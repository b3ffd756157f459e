package daemon

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
)

// ChildName is the argv[0] of a process that serves one client: whoever is started under it calls Child and nothing else.
const ChildName = "tcpmux: session"

const (
	// childChannel is the descriptor of a child's end of the socket pair.
	childChannel = 3
	// childHeap is what the garbage collector keeps a child's heap to, as long as it can.
	childHeap = "64MiB"
)

// hello is what a child has to know of its client.
type hello struct {
	framing       framing.Spec
	bounds        bounds
	age           time.Duration // of the session
	bannerTimeout time.Duration
	draining      bool
	ackTimeout    time.Duration
	offset        int64 // where in the client's stream it goes on
	memory        int64 // what the framing has to know there
	silence       time.Duration
	banner        string // placeholders filled in
	ack           string // placeholders filled in, but for those that each message fills in
}

func (h hello) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.framing.Max))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.age))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.bannerTimeout))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.ackTimeout))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.offset))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.memory))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.silence))
	dst = append(dst, bit(h.draining), byte(h.framing.Kind), byte(h.framing.LengthSize), bit(h.framing.LittleEndian))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h.banner)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h.ack)))
	return append(append(h.bounds.appendTo(dst), h.banner...), h.ack...)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func readHello(in io.Reader) (h hello, err error) {
	var head [7*8 + 1 + 3 + 4 + 4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return h, err
	}
	h.framing.Max = int(binary.BigEndian.Uint64(head[:]))
	h.age = time.Duration(binary.BigEndian.Uint64(head[8:]))
	h.bannerTimeout = time.Duration(binary.BigEndian.Uint64(head[16:]))
	h.ackTimeout = time.Duration(binary.BigEndian.Uint64(head[24:]))
	h.offset = int64(binary.BigEndian.Uint64(head[32:]))
	h.memory = int64(binary.BigEndian.Uint64(head[40:]))
	h.silence = time.Duration(binary.BigEndian.Uint64(head[48:]))
	h.draining = head[56] == 1
	h.framing.Kind, h.framing.LengthSize, h.framing.LittleEndian = framing.Kind(head[57]), int(head[58]), head[59] == 1
	if h.bounds, err = readBounds(in); err != nil {
		return h, err
	}
	banner := binary.BigEndian.Uint32(head[60:])
	texts := make([]byte, banner+binary.BigEndian.Uint32(head[64:]))
	_, err = io.ReadFull(in, texts)
	h.banner, h.ack = string(texts[:banner]), string(texts[banner:])
	return h, err
}

// Child serves the clients that the daemon passes it, one after another, and returns the exit status. Its standard error is the
// daemon's.
func Child() int {
	// They are for the daemon, which gives its orders; a terminal or a service manager may signal the whole group.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1)
	if err := serveChild(); err != nil {
		fmt.Fprintf(os.Stderr, "tcpmux: session process: %v\n", err)
		return 1
	}
	return 0
}

func serveChild() error {
	orders, err := newOrders(childChannel)
	if err != nil {
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
	c.server = newServer(c.post, func() encoder { return parcelEncoder{} }, false, 1, slog.New(slog.DiscardHandler))
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
		case orderWritten:
			c.post.written()
		case orderDrain:
			c.server.draining.Store(true)
			c.session.model.drain()
		case orderLeave:
			c.session.leaving.Store(true)
			c.session.model.handOver()
		case orderExpire:
			c.server.expired.Store(true)
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
	c.server.draining.Store(h.draining)
	c.server.expired.Store(false)
	c.bind(h.bounds)
	l := c.listener.settings.Load()
	l.banner, l.ack, l.AckTimeout, l.framing = template{text: h.banner}, newAck(h.ack), h.ackTimeout, h.framing
	c.session = beginSession(c.server, c.listener, record.Source{})
	c.session.opened = c.session.opened.Add(-h.age)
	c.session.offset = h.offset
	c.session.past.framing = h.memory
	if h.silence > 0 {
		c.session.past.heard = time.Now().Add(-h.silence)
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
	e := ending{offset: s.offset, framing: s.past.framing, why: why}
	if err != nil {
		e.err = err.Error()
	}
	_ = c.post.end(e) // it fails when the daemon has gone, and so does the next order
}

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
