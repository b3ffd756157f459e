package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/cmd/internal/secure"
)

// crowd is a set of clients that are connected at the same time.
type crowd struct {
	*run
	ctx     context.Context
	members []*member // those that were greeted
	conns   *wakeable
	unwatch func() bool // from now on the end of ctx wakes no connection
}

// member is one client of a crowd.
type member struct {
	conn   secure.Conn
	left   int         // lines still to send
	shut   atomic.Bool // the member has ended its side
	failed atomic.Bool // its error has been counted
}

// connecting is how many clients connect at the same time: enough to keep a server busy, and fewer
// than the backlog of most servers.
const connecting = 256

// gather connects all clients, at most rate a second. It counts those that could not be connected
// or greeted, and leaves them out.
func (r *run) gather(ctx context.Context, rate int) *crowd {
	r.progress.Phase("connect", int64(r.Clients), aSecond)
	c := &crowd{run: r, ctx: ctx, conns: newWakeable(r.Clients)}
	c.unwatch = context.AfterFunc(ctx, c.conns.wake)
	bounded, cancel := context.WithTimeout(ctx, r.Duration+r.Timeout)
	defer cancel()
	all := make([]*member, r.Clients)
	var next atomic.Int64
	var dialers sync.WaitGroup
	pace := newPace(rate)
	dialer := func(worker int) {
		for i := int(next.Add(1)) - 1; i < r.Clients; i = int(next.Add(1)) - 1 {
			due := pace.wait(bounded, 1)
			if bounded.Err() != nil {
				r.fail(ctx, NotReached)
				continue
			}
			conn, err := r.greet(ctx, worker, due, func(conn net.Conn) { c.conns.set(i, conn) })
			if err != nil {
				c.conns.set(i, nil)
				r.fail(ctx, err)
			} else {
				_ = conn.SetReadDeadline(time.Time{}) // it only fails if closed
				all[i] = &member{conn: conn.(secure.Conn), left: r.Count}
			}
			r.progress.Add(1)
		}
	}
	for worker := range min(connecting, r.Clients) {
		dialers.Go(func() { dialer(worker) })
	}
	dialers.Wait()
	for _, m := range all {
		if m != nil {
			c.members = append(c.members, m)
		}
	}
	return c
}

// close closes all connections.
func (c *crowd) close() {
	c.unwatch()
	for _, m := range c.members {
		_ = m.conn.Close() // they have been read to their end, or have failed
	}
}

// each calls f for every member, from a few goroutines for each processor, and waits for all calls.
func (c *crowd) each(f func(worker int, m *member)) {
	workers := min(4*runtime.GOMAXPROCS(0), len(c.members))
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < len(c.members); i += workers {
				f(w, c.members[i])
			}
		})
	}
	all.Wait()
}

// failMember counts the first error of a member.
func (c *crowd) failMember(m *member, err error) {
	if c.ctx.Err() == nil && m.failed.CompareAndSwap(false, true) {
		c.errors.add(kindOf(err))
	}
}

// idle connects a crowd and keeps it connected for Duration.
func idle(ctx context.Context, r *run) string {
	start := time.Now()
	c := r.gather(ctx, r.Rate)
	r.took = time.Since(start)
	defer c.close()
	r.done.Store(int64(len(c.members)))

	r.progress.Phase("hold", int64(r.Duration/time.Millisecond), nil)
	holding, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()
	r.progress.Elapse(holding)
	for _, m := range c.members {
		if err := alive(secure.Below(m.conn)); err != nil {
			c.failMember(m, err)
			r.done.Add(-1)
		}
	}
	return EndedByDuration
}

// alive returns an error if the server has closed the connection. It does not wait.
func alive(conn secure.Socket) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var b [1]byte
	var n int
	if cerr := raw.Control(func(fd uintptr) { n, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT) }); cerr != nil {
		return cerr
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return err
	case n == 0:
		return ClosedEarly
	}
	return nil // the server has sent more
}

// The volume workload sends linesPerWrite lines a write, or as many as maxBlock bytes hold.
const (
	linesPerWrite = 64
	maxBlock      = 1 << 20
)

func lines(ctx context.Context, r *run) string { return sendLines(ctx, r, 1, false) }

func volume(ctx context.Context, r *run) string {
	return sendLines(ctx, r, max(1, min(linesPerWrite, maxBlock/r.Size)), false)
}

func trickle(ctx context.Context, r *run) string { return sendLines(ctx, r, 1, true) }

// sendLines connects a crowd, lets each member send Count lines, and waits until the server has
// closed every connection. A server does so when it has read to the client's end, so lines count
// that the server has read, not those that fit into buffers.
func sendLines(ctx context.Context, r *run, perWrite int, rounds bool) string {
	c := r.gather(ctx, 0)     // Rate is that of the lines,
	r.latency = newRecorder() // and so is the latency
	defer c.close()
	if r.afterCrowd != nil {
		defer r.afterCrowd()()
	}
	r.progress.Phase(r.Workload, int64(len(c.members))*int64(r.Count), aSecond)
	sending, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()

	start := time.Now()
	var readers sync.WaitGroup
	for _, m := range c.members {
		readers.Go(func() { c.read(m) })
	}
	framing, _ := findFraming(r.Framing) // Check has refused all others
	s := &sender{crowd: c, sending: sending, pace: newPace(r.Rate), block: framing.block(r.Size, perWrite), perWrite: perWrite}
	if rounds {
		s.takeTurns()
	} else {
		s.allAtOnce()
	}
	readers.Wait()
	r.took = time.Since(start)
	for _, m := range c.members {
		if m.left > 0 && sending.Err() != nil {
			return endedBy(sending)
		}
	}
	return EndedByCount
}

// read reads what the server sends until it closes, so that the server never waits for room.
func (c *crowd) read(m *member) {
	var buf [512]byte
	for {
		_, err := m.conn.Read(buf[:])
		switch {
		case err == nil:
			continue
		case !errors.Is(err, io.EOF):
			c.failMember(m, err)
		case !m.shut.Load():
			c.failMember(m, ClosedEarly)
		}
		return
	}
}

// sender lets a crowd send.
type sender struct {
	*crowd
	sending  context.Context
	pace     *pace
	block    []byte
	perWrite int
}

// allAtOnce lets each member send from a goroutine of its own.
func (s *sender) allAtOnce() {
	var all sync.WaitGroup
	for i, m := range s.members {
		all.Go(func() {
			for s.write(i, m) {
			}
			s.end(m)
		})
	}
	all.Wait()
}

// takeTurns lets each member send once a round.
func (s *sender) takeTurns() {
	for range s.Count {
		if s.sending.Err() != nil {
			break
		}
		s.each(func(worker int, m *member) { s.write(worker, m) })
	}
	s.each(func(_ int, m *member) { s.end(m) })
}

// write sends the next lines of a member, and reports whether it has more to send.
func (s *sender) write(worker int, m *member) bool {
	n := min(s.perWrite, m.left)
	if n == 0 || m.failed.Load() || s.sending.Err() != nil {
		return false
	}
	due := s.pace.wait(s.sending, n)
	if s.sending.Err() != nil {
		return false
	}
	_ = m.conn.SetWriteDeadline(time.Now().Add(s.Timeout)) // it only fails if closed
	// The deadline may have replaced that of wakeable.wake.
	if s.ctx.Err() != nil {
		return false
	}
	sent, err := m.conn.Write(s.block[:n*s.Size])
	s.bytes.Add(int64(sent))
	s.done.Add(int64(sent / s.Size))
	s.progress.Add(int64(sent / s.Size))
	if err != nil {
		s.failMember(m, err)
		return false
	}
	s.latency.add(worker, time.Since(due))
	m.left -= n
	return m.left > 0
}

// end ends the sending side of a member, and gives the server Timeout to read the rest. A member
// that has failed is not read any further.
func (s *sender) end(m *member) {
	m.shut.Store(true)
	if m.failed.Load() {
		_ = m.conn.SetReadDeadline(expired) // it only fails if closed, and so does the read
		return
	}
	_ = m.conn.SetReadDeadline(time.Now().Add(s.Timeout)) // as above
	if s.ctx.Err() != nil {
		_ = m.conn.SetReadDeadline(expired) // as wakeable.wake did before
	}
	if err := m.conn.CloseWrite(); err != nil {
		s.failMember(m, err)
	}
}
