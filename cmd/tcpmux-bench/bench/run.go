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

// run is one measurement under way.
type run struct {
	Options
	dialer   *dialer
	latency  *recorder
	errors   *tally
	progress *progress.Progress

	done, bytes atomic.Int64
	took        time.Duration
}

// maxGreeting is how much of a greeting is looked at.
const maxGreeting = 4096

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// greet connects and takes the greeting. Its time counts from due. The connection is the caller's, nil with an error.
func (r *run) greet(ctx context.Context, worker int, due time.Time, keep func(net.Conn)) (net.Conn, error) {
	deadline := time.Now().Add(r.Timeout)
	conn, err := r.dialer.dial(ctx, deadline)
	if err != nil {
		return nil, err
	}
	keep(conn)
	if r.Greeting {
		if err := r.takeGreeting(ctx, conn, deadline); err != nil {
			_ = conn.Close() // what is wrong with it is known
			return nil, err
		}
	}
	r.latency.add(worker, time.Since(due))
	return conn, nil
}

func (r *run) takeGreeting(ctx context.Context, conn net.Conn, deadline time.Time) error {
	_ = conn.SetReadDeadline(deadline) // it fails when closed, and so does the read
	if ctx.Err() != nil {              // whoever wakes the readers may have been here just before
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

// fail counts err, unless it is only the end of the run.
func (r *run) fail(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	r.errors.add(kindOf(err))
}

// pace spreads what is done over time when there is a Rate: it waits until the next n are due and returns when that was.
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

// wait returns the time that latency counts from: when it was due, so that a server that makes the clients wait does not
// make them measure less often.
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

// wakeable are connections that the end of a run wakes. A deadline cannot be set on one that has been closed, and it need not
// be woken.
type wakeable struct {
	mu    sync.Mutex
	conns []net.Conn
	woken bool
}

func newWakeable(n int) *wakeable { return &wakeable{conns: make([]net.Conn, n)} }

// set puts conn, which may be nil, in the place of another.
func (w *wakeable) set(i int, conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[i] = conn
	if w.woken && conn != nil {
		_ = conn.SetDeadline(past) // it fails when closed, and so do read and write
	}
}

// wake makes every read and write that waits, or is to come, fail at once.
func (w *wakeable) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken = true
	for _, conn := range w.conns {
		if conn != nil {
			_ = conn.SetDeadline(past) // as in set
		}
	}
}

// endedBy is why a run whose sending was bounded by ctx is over.
func endedBy(sending context.Context) string {
	if errors.Is(sending.Err(), context.DeadlineExceeded) {
		return EndedByDuration
	}
	return EndedByCount
}
