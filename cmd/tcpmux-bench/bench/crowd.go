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
)

// crowd is clients that are all there at once.
type crowd struct {
	*run
	ctx     context.Context
	members []*member // those that were greeted
	awake   *wakeable
	asleep  func() bool // ends the waking at the end of ctx
}

// member is one of a crowd.
type member struct {
	conn   *net.TCPConn
	left   int         // lines still to send
	shut   atomic.Bool // we have ended our side
	failed atomic.Bool // its error has been counted
}

// connecting is how many connect at once: enough to keep a server busy, and well below the backlog of most.
const connecting = 256

// gather connects everybody, at most rate a second. Who could not be connected or greeted is counted and left out.
func (r *run) gather(ctx context.Context, rate int) *crowd {
	r.progress.Phase("connect", int64(r.Clients), aSecond)
	c := &crowd{run: r, ctx: ctx, awake: newWakeable(r.Clients)}
	c.asleep = context.AfterFunc(ctx, c.awake.wake)
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
			conn, err := r.greet(ctx, worker, due, func(conn net.Conn) { c.awake.set(i, conn) })
			if err != nil {
				c.awake.set(i, nil)
				r.fail(ctx, err)
			} else {
				_ = conn.SetReadDeadline(time.Time{}) // it fails when closed, and so does the read
				all[i] = &member{conn: conn.(*net.TCPConn), left: r.Count}
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

// close closes everybody's connection.
func (c *crowd) close() {
	c.asleep()
	for _, m := range c.members {
		_ = m.conn.Close() // those that mattered have been read to their end
	}
}

// each calls f for every member, from as many goroutines as do good, and waits for all.
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

// lost counts the member's error, once.
func (c *crowd) lost(m *member, err error) {
	if c.ctx.Err() == nil && m.failed.CompareAndSwap(false, true) {
		c.errors.add(kindOf(err))
	}
}

// idle holds a crowd.
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
		if err := alive(m.conn); err != nil {
			c.lost(m, err)
			r.done.Add(-1)
		}
	}
	return EndedByDuration
}

// alive asks the kernel, without waiting, whether the server has closed.
func alive(conn *net.TCPConn) error {
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
	return nil // it has more to say
}

// linesPerWrite is the volume workload's, as long as a block stays below maxBlock.
const (
	linesPerWrite = 64
	maxBlock      = 1 << 20
)

func lines(ctx context.Context, r *run) string { return talk(ctx, r, 1, false) }

func volume(ctx context.Context, r *run) string {
	return talk(ctx, r, max(1, min(linesPerWrite, maxBlock/r.Size)), false)
}

func trickle(ctx context.Context, r *run) string { return talk(ctx, r, 1, true) }

// talk connects a crowd, has everybody send Count lines, and waits until the server has closed every connection, which it
// does when it has read to our end: what is measured is lines that the server took, not lines that fit into buffers.
func talk(ctx context.Context, r *run, perWrite int, rounds bool) string {
	c := r.gather(ctx, 0)     // the rate is that of the lines,
	r.latency = newRecorder() // and so is the latency
	defer c.close()
	if r.afterCrowd != nil {
		defer r.afterCrowd()()
	}
	r.progress.Phase(r.Workload, int64(len(c.members))*int64(r.Count), aSecond)
	sending, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()

	start := time.Now()
	var listeners sync.WaitGroup
	for _, m := range c.members {
		listeners.Go(func() { c.listen(m) })
	}
	s := &sender{crowd: c, sending: sending, pace: newPace(r.Rate), block: block(r.Size, perWrite), perWrite: perWrite}
	if rounds {
		s.takeTurns()
	} else {
		s.allAtOnce()
	}
	listeners.Wait()
	r.took = time.Since(start)
	for _, m := range c.members {
		if m.left > 0 && sending.Err() != nil {
			return endedBy(sending)
		}
	}
	return EndedByCount
}

// block is n lines of size bytes.
func block(size, n int) []byte {
	b := make([]byte, 0, size*n)
	for i := range n {
		for range size - 1 {
			b = append(b, byte('a'+i%26))
		}
		b = append(b, '\n')
	}
	return b
}

// listen reads what the server says, so that it is never kept waiting, until it closes.
func (c *crowd) listen(m *member) {
	var buf [512]byte
	for {
		_, err := m.conn.Read(buf[:])
		switch {
		case err == nil:
			continue
		case !errors.Is(err, io.EOF):
			c.lost(m, err)
		case !m.shut.Load():
			c.lost(m, ClosedEarly)
		}
		return
	}
}

// sender has a crowd send.
type sender struct {
	*crowd
	sending  context.Context
	pace     *pace
	block    []byte
	perWrite int
}

// allAtOnce gives everybody a goroutine.
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

// takeTurns goes through the crowd once a round.
func (s *sender) takeTurns() {
	for range s.Count {
		if s.sending.Err() != nil {
			break
		}
		s.each(func(worker int, m *member) { s.write(worker, m) })
	}
	s.each(func(_ int, m *member) { s.end(m) })
}

// write sends the member's next lines and says whether there is more to send.
func (s *sender) write(worker int, m *member) bool {
	n := min(s.perWrite, m.left)
	if n == 0 || m.failed.Load() || s.sending.Err() != nil {
		return false
	}
	due := s.pace.wait(s.sending, n)
	if s.sending.Err() != nil {
		return false
	}
	_ = m.conn.SetWriteDeadline(time.Now().Add(s.Timeout)) // it fails when closed, and so does the write
	if s.ctx.Err() != nil {                                // whoever wakes the writers may have been here just before
		return false
	}
	sent, err := m.conn.Write(s.block[:n*s.Size])
	s.bytes.Add(int64(sent))
	s.done.Add(int64(sent / s.Size))
	s.progress.Add(int64(sent / s.Size))
	if err != nil {
		s.lost(m, err)
		return false
	}
	s.latency.add(worker, time.Since(due))
	m.left -= n
	return m.left > 0
}

// end tells the server that there is no more, and gives it time to take what there was.
func (s *sender) end(m *member) {
	m.shut.Store(true)
	if m.failed.Load() {
		_ = m.conn.SetReadDeadline(past) // it fails when closed, and so does the read
		return
	}
	_ = m.conn.SetReadDeadline(time.Now().Add(s.Timeout)) // as above
	if s.ctx.Err() != nil {
		_ = m.conn.SetReadDeadline(past) // the run was interrupted just now
	}
	if err := m.conn.CloseWrite(); err != nil {
		s.lost(m, err)
	}
}
