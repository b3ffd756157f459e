package bench

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// visits lets each client connect again and again, until all have made Count visits together.
func visits(ctx context.Context, r *run) string {
	r.progress.Phase("visits", int64(r.Count), aSecond)
	sending, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()
	conns := newWakeable(r.Clients)
	defer context.AfterFunc(ctx, conns.wake)()

	var begun atomic.Int64
	var clients sync.WaitGroup
	pace := newPace(r.Rate)
	visitor := func(i int) {
		defer conns.set(i, nil)
		for begun.Add(1) <= int64(r.Count) && sending.Err() == nil {
			due := pace.wait(sending, 1)
			if sending.Err() != nil {
				return
			}
			r.visit(ctx, i, due, func(conn net.Conn) { conns.set(i, conn) })
		}
	}
	start := time.Now()
	for i := range r.Clients {
		clients.Go(func() { visitor(i) })
	}
	clients.Wait()
	r.took = time.Since(start)
	if begun.Load() <= int64(r.Count) {
		return endedBy(sending)
	}
	return EndedByCount
}

func (r *run) visit(ctx context.Context, worker int, due time.Time, keep func(net.Conn)) {
	conn, err := r.greet(ctx, worker, due, keep)
	if err != nil {
		r.fail(ctx, err)
		r.progress.Add(1)
		return
	}
	r.fail(ctx, conn.Close())
	r.done.Add(1)
	r.progress.Add(1)
}
