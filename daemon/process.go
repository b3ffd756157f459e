package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// childGrace is how long a child may take for its client's last words before it is killed.
const childGrace = 3 * time.Second

// childStart is how long a child may take to start and to take its orders.
const childStart = 30 * time.Second

// byChild is the reason when the process that served a client has died.
const byChild reason = "process"

// child is a connection that a process of its own serves. The daemon keeps a duplicate, so that it can half-close it and tell
// the peer of the end whatever becomes of the process.
type child struct {
	held    heldFD
	process *os.Process
	channel *os.File
	head    [parcelHead]byte
	once    sync.Once // the process is reaped

	mu      sync.Mutex // orders do not mix
	greeted bool       // the hello is out: orders may follow
}

// newChild starts a process for the connection; it serves once it is told hello. The descriptor is the child's from now on.
func newChild(fd int) (*child, error) {
	c := &child{held: heldFD{fd: fd}}
	ours, theirs, err := socketPair()
	if err != nil {
		c.held.close()
		return nil, err
	}
	defer theirs.Close()
	nothing, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		defer nothing.Close()
		c.process, err = os.StartProcess("/proc/self/exe", []string{ChildName}, &os.ProcAttr{
			Env:   []string{"GOMAXPROCS=1", "GOTRACEBACK=single"},
			Files: []*os.File{nothing, nothing, os.Stderr, theirs},
		})
	}
	if err != nil {
		c.held.close()
		return nil, fmt.Errorf("start session process: %w", errors.Join(err, ours.Close()))
	}
	c.channel = ours
	return c, nil
}

// socketPair returns two connected sockets: ours for Go's poller, theirs to be inherited.
func socketPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(pair[1]), "channel")
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(pair[0]), theirs.Close())
	}
	return os.NewFile(uintptr(pair[0]), "channel"), theirs, nil
}

// greet tells the child hello, and with it gives it the connection. What hello says holds until the first order.
func (c *child) greet(hello func() hello) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := hello()
	if err := c.channel.SetWriteDeadline(time.Now().Add(childStart)); err != nil { // a large banner may not fit at once
		return err
	}
	raw, err := c.channel.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	c.held.control(func(fd uintptr) {
		err = raw.Write(func(channel uintptr) bool {
			serr = unix.Sendmsg(int(channel), []byte{orderHello}, unix.UnixRights(int(fd)), nil, 0)
			return serr != unix.EAGAIN
		})
	})
	if err := errors.Join(err, serr); err != nil {
		return fmt.Errorf("pass connection to session process: %w", err)
	}
	if _, err := c.channel.Write(h.appendTo(nil)); err != nil {
		return fmt.Errorf("tell session process: %w", err)
	}
	c.greeted = true
	return c.channel.SetWriteDeadline(time.Time{})
}

// order sends an order. Before the hello there is none to give: that says how things stand. A child that has died need not
// be told.
func (c *child) order(b ...byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.greeted {
		_, _ = c.channel.Write(b)
	}
}

// next waits for a parcel and returns what it is and its body, in buf or a larger one.
func (c *child) next(buf []byte, limit int) (kind byte, body []byte, err error) {
	if _, err := io.ReadFull(c.channel, c.head[:]); err != nil {
		return 0, buf, err
	}
	n := int(binary.BigEndian.Uint32(c.head[1:]))
	if n > limit {
		return 0, buf, errParcel
	}
	body = slices.Grow(buf[:0], n)[:n]
	_, err = io.ReadFull(c.channel, body)
	return c.head[0], body, err
}

// A child's reading and writing is its own.

func (c *child) read(func(fd uintptr) bool) error { return errors.ErrUnsupported }
func (c *child) write([]byte, time.Time) error    { return errors.ErrUnsupported }
func (c *child) setReadDeadline(time.Time)        {}

// wake does nothing: what a child has to know of deadlines goes by orders.
func (c *child) wake() {}

// expire gives the child childGrace to end.
func (c *child) expire() {
	c.order(orderExpire)
	_ = c.channel.SetReadDeadline(time.Now().Add(childGrace)) // on error it has been closed
}

func (c *child) control(f func(fd uintptr)) { c.held.control(f) }

// close ends the process, if it has not ended, and the connection.
func (c *child) close() {
	c.held.close()
	c.once.Do(func() {
		_ = c.channel.Close() // whatever it held has been read
		_ = c.process.Kill()  // it fails when it has ended
		_, _ = c.process.Wait()
	})
}

// relay is serve for a session whose client a child serves: it writes down what the child sends.
func (s *session) relay(c *child) (reason, error) {
	if err := c.greet(s.hello); err != nil {
		return byError, err
	}
	s.greeted.Store(true)
	if s.server.draining.Load() { // as in serve
		c.order(orderDrain)
	}
	if s.server.expired.Load() {
		c.expire()
	}
	if s.events {
		if err := s.event(encoder.Open); err != nil {
			return bySink, err
		}
	}
	var buf []byte
	limit := outSize + int(s.settings.MaxMessage) + 64
	for {
		kind, body, err := c.next(buf, limit)
		if err != nil {
			return s.orphaned(err)
		}
		switch kind {
		case parcelData:
			if err := s.write(body); err != nil {
				if errors.Is(err, errParcel) {
					return byChild, err
				}
				return bySink, err
			}
			c.order(orderAck)
		case parcelEnd:
			return s.ended(body)
		default:
			return byChild, errParcel
		}
		buf = body
		if cap(buf) > 4<<10 {
			buf = nil // an idle client holds none
		}
	}
}

// nudge makes the session look at idle_timeout anew.
func (s *session) nudge() {
	if c, ok := s.conn.(*child); ok {
		c.order(binary.BigEndian.AppendUint64([]byte{orderIdle}, uint64(s.idleTimeout()))...)
		return
	}
	s.conn.wake()
}

// hello is what the child has to know.
func (s *session) hello() hello {
	return hello{
		maxMessage:    s.settings.MaxMessage,
		idleTimeout:   s.idleTimeout(),
		bannerTimeout: s.server.bannerTimeout,
		draining:      s.server.draining.Load(),
		banner:        string(s.settings.banner.appendTo(nil, s)),
	}
}

// write records the messages of a parcel.
func (s *session) write(parcel []byte) error {
	s.heard = time.Now()
	ws := s.server.workspaces.get()
	ws.encoder.Begin(&s.source, s.heard)
	first := s.records
	for len(parcel) > 0 {
		offset, data, flag, rest, err := unpack(parcel)
		if err != nil {
			s.server.workspaces.put(ws)
			return err
		}
		ws.out = ws.encoder.Message(ws.out, offset, data, flag)
		s.offset = offset + int64(len(data))
		s.records++
		parcel = rest
	}
	ticket, err := s.server.sink.Gather(ws.out)
	s.server.workspaces.put(ws)
	if err == nil {
		err = s.commit(ticket)
	}
	if err != nil {
		return s.fail(first, err)
	}
	s.server.records.Add(s.records - first)
	return nil
}

// ended takes over how the child's session went.
func (s *session) ended(body []byte) (reason, error) {
	e, err := parseEnding(body)
	if err != nil {
		return byChild, err
	}
	s.offset = e.offset
	if e.err != "" {
		err = errors.New(e.err)
	}
	return e.why, err
}

// orphaned is how a session ends whose child has gone without a word.
func (s *session) orphaned(err error) (reason, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return byDrain, errors.New("session process did not end in time and was killed")
	}
	return byChild, errors.New("session process died")
}
