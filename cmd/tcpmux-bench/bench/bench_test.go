package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/cmd/internal/progress"
)

// testServer is a server with known behaviour that counts what it receives.
type testServer struct {
	address              string
	visits, lines, bytes atomic.Int64
}

// open lets serve serve every connection until the test ends.
func open(t *testing.T, serve func(d *testServer, conn *net.TCPConn)) *testServer {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &testServer{address: ln.Addr().String()}
	over := make(chan struct{})
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		close(over)
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			d.visits.Add(1)
			serving.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })()
				serve(d, conn.(*net.TCPConn))
			})
		}
	})
	return d
}

func greetAndCount(d *testServer, conn *net.TCPConn) {
	_, _ = io.WriteString(conn, "Welcome connect!\n")
	count(d, conn)
}

func count(d *testServer, conn *net.TCPConn) {
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadBytes('\n')
		d.bytes.Add(int64(len(line)))
		if err != nil {
			return
		}
		d.lines.Add(1)
	}
}

// measured checks o and runs it.
func measured(t *testing.T, ctx context.Context, o Options) Result {
	t.Helper()
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	r, err := Run(ctx, o, &progress.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWorkloadsCountExactly(t *testing.T) {
	for _, c := range []struct {
		o                    Options
		visits, lines, bytes int64 // that the server must see
	}{
		{Options{Workload: "visits", Clients: 7, Count: 100}, 100, 0, 0},
		{Options{Workload: "visits", Clients: 7, Count: 3}, 3, 0, 0},
		{Options{Workload: "idle", Clients: 300, Duration: 20 * time.Millisecond}, 300, 0, 0},
		{Options{Workload: "lines", Clients: 5, Count: 30, Size: 20}, 5, 150, 3000},
		{Options{Workload: "volume", Clients: 3, Count: 1000, Size: 300}, 3, 3000, 900_000},
		{Options{Workload: "volume", Clients: 1, Count: 3, Size: MaxSize}, 1, 3, 3 * MaxSize},
		{Options{Workload: "trickle", Clients: 40, Count: 4, Size: 2}, 40, 160, 320},
	} {
		for _, greeting := range []bool{true, false} {
			name := c.o.Workload + map[bool]string{true: ", greeted", false: ", not greeted"}[greeting]
			t.Run(name, func(t *testing.T) {
				serve := greetAndCount
				if !greeting {
					serve = count
				}
				d := open(t, serve)
				o := c.o
				o.Address, o.Greeting = d.address, greeting
				r := measured(t, t.Context(), o)
				if r.Failed() > 0 {
					t.Errorf("errors: got %v, want none", r.Errors)
				}
				done := map[string]int64{"visits": c.visits, "clients": c.visits, "lines": c.lines}[r.Unit]
				if r.Done != done || r.Bytes != c.bytes {
					t.Errorf("told: got %d %s, %d bytes, want %d, %d", r.Done, r.Unit, r.Bytes, done, c.bytes)
				}
				if r.Rate <= 0 || r.Seconds <= 0 || r.Latency.Min <= 0 || r.Latency.P50 > r.Latency.P99 || r.Latency.P99 > r.Latency.Max {
					t.Errorf("got rate %v, %v s, latency %+v, want figures in order", r.Rate, r.Seconds, r.Latency)
				}
				// The server may count a visit after the client has ended it. It has counted all
				// lines, because the client waits until the server closes.
