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

// child is a connection that a process of its own serves. The daemon keeps a duplicate, so that it can half-close it and tell
// the peer of the end whatever becomes of the process.
type child struct {
	*session
	held    heldFD
	process *os.Process
	channel *os.File
	head    [parcelHead]byte
	once    sync.Once // the process is reaped
	ended   string    // how it ended, once it is reaped

	mu      sync.Mutex // orders do not mix
	greeted bool       // the hello is out: orders may follow
}

// newChild starts a process for the connection; it serves once it is told hello. The descriptor is the child's from now on.
func newChild(s *session, fd int) (*child, error) {
	c := &child{session: s, held: heldFD{fd: fd}}
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
	return nil
}

// order sends an order. Before the hello there is none to give: that says how things stand. A child that has died need not
// be told; one that does not listen is killed, as nobody may wait for it.
func (c *child) order(b ...byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.greeted {
		return
	}
	_ = c.channel.SetWriteDeadline(time.Now().Add(childGrace)) // it fails when closed, and so does Write
	if _, err := c.channel.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.process.Kill() // it fails when it has ended
	}
}

// next waits for a parcel and returns what it is and how long its body.
func (c *child) next(limit int) (kind byte, n int, err error) {
	if _, err := io.ReadFull(c.channel, c.head[:]); err != nil {
		return 0, 0, err
	}
	n = int(binary.BigEndian.Uint32(c.head[1:]))
	if n == 0 || n > limit {
		return 0, 0, errParcel
	}
	return c.head[0], n, nil
}

// body reads the body of a parcel into buf, or a larger one. A child sends it in one go: it is not waited for.
func (c *child) body(buf []byte, n int) ([]byte, error) {
	buf = slices.Grow(buf[:0], n)[:n]
	_, err := io.ReadFull(c.channel, buf)
	return buf, err
}

// allow gives the child so long for what it sends next; 0: for ever.
func (c *child) allow(d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = c.channel.SetReadDeadline(at) // it fails when closed, and so does the read
}

// drain implements model.
func (c *child) drain() { c.order(orderDrain) }

// nudge implements model.
func (c *child) nudge() {
	c.order(binary.BigEndian.AppendUint64([]byte{orderIdle}, uint64(c.idleTimeout()))...)
}

// expire gives the child childGrace to end.
func (c *child) expire() {
	c.allow(childGrace)
	c.order(orderExpire)
}

func (c *child) control(f func(fd uintptr)) { c.held.control(f) }

// close ends the process, if it has not ended, and the connection.
func (c *child) close() {
	c.held.close()
	_ = c.reap()
}

// reap ends the process, if it has not ended, and returns how it did.
func (c *child) reap() string {
	c.once.Do(func() {
		_ = c.channel.Close() // whatever it held has been read
		_ = c.process.Kill()  // it fails when it has ended
		state, err := c.process.Wait()
		c.ended = fmt.Sprint(state)
		if err != nil {
			c.ended = err.Error()
		}
	})
	return c.ended
}

// serve implements model: it writes down what the process sends.
func (c *child) serve() (reason, error) {
	if err := c.greet(c.hello); err != nil {
		return byError, err
	}
	if c.server.draining.Load() { // as in serve
		c.order(orderDrain)
	}
	if c.server.expired.Load() {
		c.expire()
	}
	if err := c.open(); err != nil {
		return bySink, err
	}
	limit := outSize + int(c.settings.MaxMessage) + 64
	for {
		kind, n, err := c.next(limit)
		if err != nil {
			return c.orphaned(err)
		}
		switch kind {
		case parcelData:
			if err := c.record(n); errors.Is(err, errParcel) || errors.Is(err, errOrphan) {
				return c.orphaned(err)
			} else if err != nil {
				return bySink, err
			}
			if c.server.expired.Load() { // while it waited for the sink its time stood still
				c.allow(childGrace)
			}
			c.order(orderAck)
		case parcelEnd:
			return c.end(n)
		default:
			return c.orphaned(errParcel)
		}
	}
}

// hello is what the child has to know.
func (c *child) hello() hello {
	return hello{
		maxMessage:    c.settings.MaxMessage,
		idleTimeout:   c.idleTimeout(),
		bannerTimeout: c.server.bannerTimeout,
		draining:      c.server.draining.Load(),
		banner:        string(c.settings.banner.appendTo(nil, c.session)),
	}
}

// errOrphan is that a child died within a parcel.
var errOrphan = errors.New("session process broke off")

// record writes down the messages of a parcel of n bytes. It is read into a workspace, so that a sink which stands still does not
// have the daemon hold what all its children have to say.
func (c *child) record(n int) error {
	ws := c.server.workspaces.get()
	c.allow(childGrace)
	parcel, err := c.body(ws.parcel, n)
	if ws.parcel = parcel; err != nil {
		c.server.workspaces.put(ws)
		return errOrphan
	}
	c.allow(0)
	first := c.records
	ws.encoder.Begin(&c.source, time.Now())
	for len(parcel) > 0 {
		m, rest, err := unpack(parcel)
		if err != nil {
			c.server.workspaces.put(ws)
			return c.fail(first, err)
		}
		ws.out = ws.encoder.Message(ws.out, m)
		c.offset = m.Offset + int64(len(m.Head)+len(m.Data)+len(m.End))
		c.records++
		parcel = rest
	}
	return c.hand(ws, first)
}

// end takes over how the child's session went.
func (c *child) end(n int) (reason, error) {
	c.allow(childGrace)
	body, err := c.body(nil, n)
	if err != nil {
		return c.orphaned(errOrphan)
	}
	e, err := parseEnding(body)
	if err != nil {
		return c.orphaned(err)
	}
	c.offset = e.offset
	if e.err != "" {
		err = errors.New(e.err)
	}
	return e.why, err
}

// orphaned is how a session ends whose child has gone without a word, or has to go.
func (c *child) orphaned(err error) (reason, error) {
	switch {
	case errors.Is(err, errParcel):
		return byChild, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return byDrain, errors.New("session process did not end in time and was killed")
	}
	return byChild, fmt.Errorf("session process died: %s", c.reap())
}
