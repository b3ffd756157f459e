package server_test

import (
	"context"
	"sync/atomic"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
)

// stuckSink is a sink that takes nothing until it is closed.
type stuckSink struct {
	waiting atomic.Int32
	closed  chan struct{}
}

// Gather implements session.Sink.
func (s *stuckSink) Gather([]byte, sink.Giver) (sink.Ticket, error) {
	s.waiting.Add(1)
	<-s.closed
	return 0, sink.ErrClosed
}

// Commit implements session.Sink.
func (s *stuckSink) Commit(sink.Ticket) error { return sink.ErrClosed }

// CommitNow implements session.Sink.
func (s *stuckSink) CommitNow(sink.Ticket) error { return sink.ErrClosed }

// TestASinkThatStandsStillHoldsUpItsOwnSessionsAlone: they tie up no buffers of others, and can be
// left out of a pause.
func TestASinkThatStandsStillHoldsUpItsOwnSessionsAlone(t *testing.T) {
	const buffers = 32
	stuck := &stuckSink{closed: make(chan struct{})}
	f := servertest.New(t, func(c *config.Config) {
		l := c.Listeners[0]
		l.Name, l.File, l.Banner = "own", "own.log", config.Bytes{}
		c.Listeners = append(c.Listeners, l)
	}, func(o *server.Options) {
		main := o.SinkOf
		o.SinkOf = func(l config.Listener) session.Sink {
			if l.File != "" {
				return stuck
			}
			return main(l)
		}
	}).Open()
	defer close(stuck.closed)
	address := f.OpenToo(1).Listener.Addr.String()
	for range buffers + 8 {
		servertest.Dial(t, address, nil).Say("waits\n")
	}
	servertest.Eventually(t, func() bool { return stuck.waiting.Load() == buffers },
		func() { t.Errorf("got %d sessions that wait for the sink, want %d", stuck.waiting.Load(), buffers) })
	state := func(listener, want string) (n int) {
		for _, ss := range f.Server.Sessions(api.Filter{Listener: listener}).Sessions {
			if ss.State == want {
				n++
			}
		}
		return n
	}
	servertest.Eventually(t, func() bool { return state("own", "sink") == buffers+8 },
		func() {
			t.Errorf("got %+v, want all to wait for the sink", f.Server.Sessions(api.Filter{Listener: "own"}))
		})
	c := f.Greeted()
	c.Say("goes on\n")
	f.AwaitRecords(c.Addr() + ": goes on\n")
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	resume := f.Server.Pause(ctx, stuck)
	if resume == nil {
		t.Fatal("got no pause, want one for the others")
	}
	resume()
	c.Say("goes on again\n")
	f.AwaitRecords(c.Addr() + ": goes on again\n")
}
