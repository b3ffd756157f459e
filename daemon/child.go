package daemon

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// ChildName is the argv[0] of a process that serves one client: whoever is started under it calls Child and nothing else.
const ChildName = "tcpmux: session"

const (
	// childChannel is the descriptor of a child's end of the socket pair.
	childChannel = 3
	// childMemory is what a child's heap is kept to, in bytes: a message and its copies fit several times.
	childMemory = 64 << 20
)

// hello is what a child has to know of its client.
type hello struct {
	maxMessage    int64
	idleTimeout   time.Duration
	bannerTimeout time.Duration
	draining      bool
	banner        string // placeholders filled in
}

func (h hello) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.maxMessage))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.idleTimeout))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.bannerTimeout))
	draining := byte(0)
	if h.draining {
		draining = 1
	}
	dst = binary.BigEndian.AppendUint32(append(dst, draining), uint32(len(h.banner)))
	return append(dst, h.banner...)
}

func readHello(in io.Reader) (h hello, err error) {
	var head [8 + 8 + 8 + 1 + 4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return h, err
	}
	h.maxMessage = int64(binary.BigEndian.Uint64(head[:]))
	h.idleTimeout = time.Duration(binary.BigEndian.Uint64(head[8:]))
	h.bannerTimeout = time.Duration(binary.BigEndian.Uint64(head[16:]))
	h.draining = head[24] == 1
	banner := make([]byte, binary.BigEndian.Uint32(head[25:]))
	_, err = io.ReadFull(in, banner)
	h.banner = string(banner)
	return h, err
}

// Child serves the one client that the daemon passes it, and returns the exit status. Its standard error is the daemon's.
func Child() int {
	// They are for the daemon, which gives its orders; a terminal or a service manager may signal the whole group.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	debug.SetMemoryLimit(childMemory)
	if err := serveChild(); err != nil {
		fmt.Fprintf(os.Stderr, "tcpmux: session process: %v\n", err)
		return 1
	}
	return 0
}

func serveChild() error {
	fd, err := receiveConnection(childChannel)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(childChannel, true); err != nil {
		return err
	}
	channel := os.NewFile(childChannel, "channel")
	orders := bufio.NewReaderSize(channel, 512)
	h, err := readHello(orders)
	if err != nil {
		return fmt.Errorf("read hello: %w", err)
	}
	if err := confine(); err != nil {
		return err
	}
	p := newPost(channel)
	srv := newServer(p, func() encoder { return parcelEncoder{} }, false, 1, slog.New(slog.DiscardHandler))
	srv.bannerTimeout = h.bannerTimeout
	srv.draining.Store(h.draining)
	c := config.Listener{Banner: "", MaxMessage: h.maxMessage, IdleTimeout: h.idleTimeout}
	ln := newListener(c, nil, false)
	ln.settings.Load().banner = banner{text: h.banner}
	s := beginSession(srv, ln, record.Source{})
	if err := s.setModel(fd); err != nil {
		return err
	}
	go obey(orders, s, p)
	why, err := s.model.serve()
	e := ending{offset: s.offset, why: why}
	if err != nil {
		e.err = err.Error()
	}
	return p.end(e)
}

// receiveConnection takes the order that brings the connection.
func receiveConnection(channel int) (int, error) {
	var order [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(channel, order[:], oob, unix.MSG_CMSG_CLOEXEC)
	if n == 0 && err == nil {
		return -1, errors.New("the daemon has gone")
	}
	if err != nil || n != 1 || order[0] != orderHello {
		return -1, fmt.Errorf("receive connection: %d bytes, %w", n, errors.Join(err, errParcel))
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return -1, fmt.Errorf("receive connection: %w", errors.Join(err, errParcel))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("receive connection: %w", errors.Join(err, errParcel))
	}
	return fds[0], nil
}

// obey carries out the daemon's orders until there are no more; without a daemon there is nobody to write for.
func obey(orders *bufio.Reader, s *session, p *post) {
	defer p.close()
	for {
		order, err := orders.ReadByte()
		if err != nil {
			s.server.expired.Store(true)
			s.model.expire()
			return
		}
		switch order {
		case orderAck:
			p.ack()
		case orderDrain:
			s.server.draining.Store(true)
			s.model.drain()
		case orderExpire:
			s.server.expired.Store(true)
			s.model.expire()
		case orderIdle:
			var nanoseconds [8]byte
			if _, err := io.ReadFull(orders, nanoseconds[:]); err != nil {
				continue // the next read fails too
			}
			c := s.listener.settings.Load().Listener
			c.IdleTimeout = time.Duration(min(binary.BigEndian.Uint64(nanoseconds[:]), math.MaxInt64))
			s.listener.configure(c)
			s.model.nudge()
		}
	}
}
