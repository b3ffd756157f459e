package daemon

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/state"
)

// After a session process that could not be started, the next is tried after workerRetryMin, doubling to workerRetryMax.
const (
	workerRetryMin = 10 * time.Millisecond
	workerRetryMax = time.Second
)

// child is a connection that a process serves, one that has no other client meanwhile. The daemon keeps a duplicate, so that it
// can half-close it and tell the peer of the end whatever becomes of the process.
type child struct {
	*session
	held heldFD

	mu     sync.Mutex // orders do not mix
	worker *worker    // nil before it is told hello, and again when it has ended well; changed only by serve
}

// newChild makes the model of a connection whose process is found when it is served. The descriptor is the child's from now on.
func newChild(s *session, fd int) *child { return &child{session: s, held: heldFD{fd: fd}} }

// engage gives the client to a worker. While none can be started it is tried again, as a client had better wait than be turned
// away, until the time to finish is over, or the next process can try.
func (c *child) engage() error {
	for wait := workerRetryMin; ; wait = min(2*wait, workerRetryMax) {
		err := c.tryEngage()
		c.server.reportWorkers(err)
		if err == nil {
			return nil
		}
		time.Sleep(wait)
		if c.overdue.Load() || c.leaving.Load() {
			return err
		}
	}
}

// reportWorkers tells when processes for clients cannot be started any more, and when they can again.
func (s *Server) reportWorkers(err error) {
	switch {
	case err != nil && !s.workless.Swap(true):
		s.log.Error("session processes cannot be started, their clients wait", "err", err)
	case err == nil && s.workless.CompareAndSwap(true, false):
		s.log.Info("session processes can be started again")
	}
}

// tryEngage tries those who rest, who may have died meanwhile, and at last a new one.
func (c *child) tryEngage() error {
	for {
		w, err := c.server.workers.take()
		if err != nil {
			return err
		}
		if err = c.introduce(w); err == nil {
			return nil
		}
		w.end()
		if w.clients == 1 {
			return err
		}
	}
}

// introduce tells a worker hello. What hello says holds until the first order.
func (c *child) introduce(w *worker) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := w.hello(&c.held, c.hello()); err != nil {
		return err
	}
	c.worker = w
	if c.past.moved != nil {
		c.past.moved = nil // it is the process's to keep
	}
	return nil
}

// order sends an order. Before the hello there is none to give: that says how things stand.
func (c *child) order(b ...byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.worker != nil {
		c.worker.order(b...)
	}
}

// drain passes it on to the process, as do those below.
func (c *child) drain() { c.order(orderDrain) }

// nudge sends the bounds that are in force now.
func (c *child) nudge() {
	c.order(c.bounds().appendTo([]byte{orderBind})...)
}

// handOver has the process end its session by byLeave.
func (c *child) handOver() { c.order(orderLeave) }

// expire gives the worker workerGrace to end.
func (c *child) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.worker != nil {
		c.worker.allow(workerGrace)
		c.worker.order(orderExpire)
	}
}

func (c *child) control(f func(fd uintptr)) { c.held.control(f) }

// close ends the connection, and the worker unless the session has gone well.
func (c *child) close() {
	c.held.close()
	if c.worker != nil {
		c.worker.end()
	}
}

// release gives the worker to the next client.
func (c *child) release() {
	c.mu.Lock()
	w := c.worker
	c.worker = nil
	c.mu.Unlock()
	c.server.workers.give(w, c.settings.ClientsPerProcess)
}

// serve implements model: it writes down what the process sends.
func (c *child) serve() (reason, error) {
	if err := c.engage(); err != nil {
		if c.leaving.Load() {
			return byLeave, nil
		}
		return byChild, err
	}
	c.catchUp()
	if err := c.open(); err != nil {
		return bySink, err
	}
	for limit := outSize + int(c.settings.MaxMessage) + 64; ; {
		if why, err := c.listen(limit); why != "" {
			return why, err
		}
	}
}

// catchUp gives the worker the orders that came before there was one, as a talk does once it has greeted.
func (c *child) catchUp() {
	switch {
	case c.leaving.Load():
		c.handOver()
	case c.finishing.Load():
		c.order(orderDrain)
	}
	if c.overdue.Load() {
		c.expire()
	}
}

// listen waits for the next parcel, of limit bytes at most, and sees to it. A reason is that the session ends.
func (c *child) listen(limit int) (reason, error) {
	kind, n, err := c.worker.next(limit)
	if err != nil {
		return c.orphaned(err)
	}
	switch kind {
	case parcelData:
		err = c.record(n)
	case parcelNote:
		err = c.note(n)
	case parcelEnd:
		return c.ending(n)
	default:
		err = errParcel
	}
	switch {
	case errors.Is(err, errParcel), errors.Is(err, errOrphan):
		return c.orphaned(err)
	case err != nil:
		return bySink, err
	}
	return "", nil
}

// hello is what the child has to know.
func (c *child) hello() hello {
	return hello{
		framing:       c.settings.framing,
		bounds:        c.bounds(),
		age:           time.Since(c.opened),
		bannerTimeout: c.server.bannerTimeout,
		finishing:     c.finishing.Load(),
		offset:        c.offset,
		memory:        c.past.framing,
		pieces:        c.past.pieces,
		cut:           c.past.cut,
		silence:       c.silence(),
		unread:        c.past.unread,
		moved:         c.past.moved,
		noting:        c.slot != nil,
		banner:        c.banner(),
		ack:           config.Bytes{Raw: c.settings.ack.bind(c.session).text, Hex: c.settings.Ack.Hex},
		ackTimeout:    c.settings.AckTimeout,
	}
}

// silence is how long the client has sent nothing, as the process before saw it.
func (c *child) silence() time.Duration {
	if c.past.heard.IsZero() {
		return 0
	}
	return time.Since(c.past.heard)
}

// banner is what the child greets its client with; "" when the process before has.
func (c *child) banner() string {
	if c.past.greeted {
		return ""
	}
	return string(c.settings.banner.of(c.session))
}

// errOrphan is that a child died within a parcel.
var errOrphan = errors.New("session process broke off")

// record writes down the messages of a parcel of n bytes, and tells the process. It is read into a workspace, so that a sink which stands still does not
// have the daemon hold what all its children have to say.
func (c *child) record(n int) error {
	ws := c.server.workspaces.get()
	c.worker.allow(workerGrace)
	parcel, err := c.worker.body(ws.parcel, n)
	if ws.parcel = parcel; err != nil {
		c.server.workspaces.put(ws)
		return errOrphan
	}
	c.worker.allow(0)
	first := c.records
	c.setBusy(true)
	noted, err := c.encode(ws, parcel)
	c.setBusy(false)
	if err != nil {
		c.server.workspaces.put(ws)
		return c.fail(first, err)
	}
	if err := c.hand(ws, first); err != nil {
		return err
	}
	if !noted {
		c.slot.Count(state.Tally{Offset: c.offset, Records: c.records})
	}
	if c.overdue.Load() { // while it waited for the sink its time stood still
		c.worker.allow(workerGrace)
	}
	c.order(orderWritten)
	return nil
}

// encode appends the messages of a parcel to the workspace's output. It reports whether a note follows them.
func (c *child) encode(ws *workspace, parcel []byte) (noted bool, err error) {
	ws.encoder.Begin(&c.source, time.Now())
	for len(parcel) > 0 {
		if ws.message, parcel, err = unpack(parcel); err != nil {
			return false, err
		}
		c.message(ws)
		c.offset = ws.message.Offset + int64(ws.message.Len())
		noted = isNoted(c.settings.ack.text != "", ws.message.Flag)
	}
	return noted, nil
}

// note keeps what the process is about to take from the socket, and how far its session has come.
func (c *child) note(n int) error {
	ws := c.server.workspaces.get()
	defer c.server.workspaces.put(ws)
	c.worker.allow(workerGrace)
	body, err := c.worker.body(ws.parcel, n)
	if ws.parcel = body; err != nil {
		return errOrphan
	}
	e, err := parseNote(body)
	if err == nil && e.offset != c.offset {
		err = errParcel
	}
	if err != nil {
		return err
	}
	if c.worker.allow(0); c.overdue.Load() {
		c.worker.allow(workerGrace)
	}
	c.slot.Count(state.Tally{Offset: e.offset, Records: c.records, Framing: e.framing, Pieces: e.pieces})
	if c.slot.Extend(e.offset, e.have, e.more) {
		c.order(orderKept)
	} else {
		c.order(orderNotKept)
	}
	return nil
}

// ending takes over how the child's session went, which a parcel of n bytes tells.
func (c *child) ending(n int) (reason, error) {
	c.worker.allow(workerGrace)
	body, err := c.worker.body(nil, n)
	if err != nil {
		return c.orphaned(errOrphan)
	}
	e, err := parseEnding(body)
	if err != nil {
		return c.orphaned(err)
	}
	c.offset = e.offset
	if e.why == byLeave {
		c.slot.Count(state.Tally{Offset: c.offset, Records: c.records, Framing: e.framing, Pieces: e.pieces})
	}
	c.release()
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
	return byChild, fmt.Errorf("session process died: %s", c.worker.end())
}
