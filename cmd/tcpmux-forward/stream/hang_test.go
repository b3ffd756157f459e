package stream

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/internal/await"
)

// TestServerHangs has a server that keeps its connections and answers nothing.
func TestServerHangs(t *testing.T) {
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		// Both are larger than what the kernel keeps for the server.
		b := batchOf(0, 1000, nil, fileA)
		for i := range b.Records {
			b.Records[i].Line = append(b.Records[i].Line, make([]byte, 20_000)...)
		}
		calls := func(ctx context.Context, c *Conn) (errs []error) {
			_, err := c.Publish(ctx, b)
			_, errLast := c.Last(ctx)
			return append(errs, err, errLast)
		}
		opt := options(s)
		short := opt
		short.Timeout = 3 * time.Second
		timed, canceled := connected(t, short), connected(t, opt)
		lastOf(t, timed)
		lastOf(t, canceled)
		s.Pause()
		defer s.Continue()
		for _, err := range calls(context.Background(), timed)[:1] {
			wantKind(t, err, Outage)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		for _, err := range calls(ctx, canceled) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got error %v, want that of the context", err)
			}
		}
		short.Timeout = 100 * time.Millisecond
		_, err := Connect(context.Background(), short)
		wantKind(t, err, Outage, "connect to")
		ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := Connect(ctx, opt); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want that of the context", err)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "nats://" + ln.Addr().String()
	ln.Close()
	_, err = Connect(context.Background(), options(&natstest.Server{URL: url}))
	wantKind(t, err, Outage, url, "no server answers")
}

// TestNothingIsLeftBehind: neither a connection that is closed nor one that failed leaves a
// goroutine.
func TestNothingIsLeftBehind(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	ours := func() (n int) {
		stacks := make([]byte, 1<<20)
		for _, g := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(g, "nats-io/nats") || strings.Contains(g, "stream.(*") {
				n++
			}
		}
		return n
	}
	before := ours()
	refused := options(s)
	refused.Forward.Replicas = 3
	if _, err := Connect(context.Background(), refused); err == nil {
		t.Fatal("got no error, want one: there is one server")
	}
	c := connected(t, options(s))
	lastOf(t, c)
	publish(t, c, batchOf(0, 30, nil, fileA))
	lastOf(t, c)
	c.Close()
	var after int
	await.Until(t, func() bool { after = ours(); return after <= before }, func() {
		t.Errorf("got %d goroutines afterwards, want %d", after, before)
	})
}

// TestLateMessages abandons connections with messages under way: they come, or not, while others go
// on.
func TestLateMessages(t *testing.T) {
	const n = 2000
	each(t, natstest.Options{}, func(t *testing.T, m mode, s *natstest.Server) {
		connected(t, options(s)) // makes the stream
		for i := range 6 {
			c := connected(t, options(s))
			last := lastOf(t, c)
			b := nextBatch(last.Cursor, n, 1500, []file{fileA, fileB})
			ctx, cancel := context.WithCancel(context.Background())
			over := make(chan struct{})
			go func() {
				_, _ = c.Publish(ctx, b) // which is what is cut
				close(over)
			}()
			if i%2 == 0 {
				cancel()
			}
			if _, err := deliver(context.Background(), options(s), (i+1)*n/6, 100, fileA, fileB); err != nil {
				t.Fatal(err)
			}
			cancel()
			<-over
		}
		if _, err := deliver(context.Background(), options(s), n, 300, fileA, fileB); err != nil {
			t.Fatal(err)
		}
		wantOnce(t, s, n, fileA, fileB)
	})
}
