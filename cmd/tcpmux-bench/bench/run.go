package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/cmd/internal/progress"
)

// run is a measurement in progress.
type run struct {
	Options
	dialer   *dialer
	latency  *recorder
	errors   *errorCounts
	progress *progress.Progress

	done, bytes atomic.Int64
	took        time.Duration
}

// maxGreeting is the largest number of bytes of a greeting that are compared.
const maxGreeting = 4096

// expired is a deadline that ends every wait at once.
var expired = time.Unix(1, 0)

// greet connects and reads the greeting, and records the latency since due. It calls keep with the
// connection before it reads. The caller closes the connection, which is nil with an error.
func (r *run) greet(ctx context.Context, worker int, due time.Time, keep func(net.Conn)) (net.Conn, error) {
	deadline := time.Now().Add(r.Timeout)
	conn, err := r.dialer.dial(ctx, deadline)
	if err != nil {
		return nil, err
	}
	keep(conn)
	if r.Greeting {
		if err := r.takeGreeting(ctx, conn, deadline); err != nil {
			_ = conn.Close() // the error of the greeting is returned
			return nil, err
		}
	}
	r.latency.add(worker, time.Since(due))
	return conn, nil
}

func (r *run) takeGreeting(ctx context.Context, conn net.Conn, deadline time.Time) error {
	_ = conn.SetReadDeadline(deadline) // it only fails if closed, and so does the read
	// The deadline may have replaced that of wakeable.wake.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	buf := greetings.Get().(*[maxGreeting]byte)
	defer greetings.Put(buf)
	for have := 0; ; {
		n, err := conn.Read(buf[have:])
		have += n
		common := min(have, len(r.Expect))
		switch {
		case string(buf[:common]) != r.Expect[:common]:
			return WrongGreeting
		case have >= max(len(r.Expect), 1):
			return nil
		case errors.Is(err, io.EOF) && have == 0:
			return NoGreeting
		case errors.Is(err, io.EOF):
			return ShortGreeting
		case err != nil:
			return err
		}
	}
}

var greetings = sync.Pool{New: func() any { return new([maxGreeting]byte) }}

// fail counts err, unless the end of the run caused it.
func (r *run) fail(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	r.errors.add(kindOf(err))
}

// pace spreads visits or lines over time if there is a Rate. It is safe for concurrent use.
type pace struct {
	each  time.Duration
	start time.Time
	next  atomic.Int64
}

func newPace(rate int) *pace {
	p := &pace{start: time.Now()}
	if rate > 0 {
		p.each = time.Second / time.Duration(rate)
	}
	return p
}

// wait waits until the next n are due, or ctx ends, and returns the time from which their latency
// counts. That is when they were due: otherwise a server that delays its clients would be measured
// less often while it is slow.
func (p *pace) wait(ctx context.Context, n int) time.Time {
	if p.each == 0 {
		return time.Now()
	}
	due := p.start.Add(time.Duration(p.next.Add(int64(n))-int64(n)) * p.each)
	if ahead := time.Until(due); ahead > 0 {
		select {
		case <-time.After(ahead):
		case <-ctx.Done():
		}
	}
	return due
}

// wakeable is a set of connections whose waits can be ended together. It is safe for concurrent
// use. A connection in it may be closed.
type wakeable struct {
	mu    sync.Mutex
	conns []net.Conn
	woken bool
}

func newWakeable(n int) *wakeable { return &wakeable{conns: make([]net.Conn, n)} }

// set replaces the connection at i by conn, which may be nil.
func (w *wakeable) set(i int, conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[i] = conn
	if w.woken && conn != nil {
		_ = conn.SetDeadline(expired) // it only fails if closed, and so do read and write
	}
}

// wake makes all reads and writes fail at once, those that wait and those that follow.
func (w *wakeable) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken = true
	for _, conn := range w.conns {
		if conn != nil {
			_ = conn.SetDeadline(expired) // as in set
		}
	}
}

// endedBy returns why a run has ended whose sending ended with the context.
func endedBy(sending context.Context) string {
	if errors.Is(sending.Err(), context.DeadlineExceeded) {
		return EndedByDuration
	}
	return EndedByCount
}
