package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

// hold opens a connection that has a slot for as long as it is open: its request was answered.
func hold(t *testing.T, r *rig) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %d and error %v, want 200", resp.StatusCode, err)
	}
	return c
}

// TestTooManyConnections: one too many is told so, the administrator is not shut out, and a slot
// that is free again serves.
func TestTooManyConnections(t *testing.T) {
	var uid atomic.Uint32
	uid.Store(1000)
	r := serve(t, &fakeDaemon{}, uid.Load, func(l *limits) { l.connections, l.overflow, l.turnedAway, l.idle = 2, 3, time.Hour, time.Hour })
	first := hold(t, r)
	hold(t, r)
	resp, text := r.ask(t, "GET", "/v1/status", false)
	if resp.StatusCode != 503 || !strings.Contains(text, "too many connections") {
		t.Errorf("got %d %q, want 503", resp.StatusCode, text)
	}
	uid.Store(0)
	if resp, text := r.ask(t, "GET", "/v1/status", false); resp.StatusCode != 200 {
		t.Errorf("root: got %d %q, want 200", resp.StatusCode, text)
	}
	uid.Store(1000)
	if resp, text := r.ask(t, "GET", "/v1/status", true); resp.StatusCode != 200 {
		t.Errorf("over TCP: got %d %q, want 200: its connections are others", resp.StatusCode, text)
	}
	_ = first.Close()
	eventually(t, "answer after a connection was closed", func() bool {
		resp, _ := r.ask(t, "GET", "/v1/status", false)
		return resp.StatusCode == 200
	})
}

// TestTheAdministratorIsNeverShutOut: not by others that take all slots and say nothing. One more
// of these is closed, and does not wait in front of the administrator.
func TestTheAdministratorIsNeverShutOut(t *testing.T) {
	var uid atomic.Uint32
	uid.Store(1000)
	r := serve(t, &fakeDaemon{}, uid.Load, func(l *limits) {
		l.connections, l.overflow, l.turnedAway, l.idle, l.header = 1, 1, time.Hour, time.Hour, time.Hour
	})
	hold(t, r)
	silent := func() net.Conn {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(time.Minute)) // an error shows with the read
		return c
	}
	silent()
	if n, err := silent().Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("one more: got %d bytes and error %v, want the end", n, err)
	}
	uid.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://x/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, text := r.do(t, req, false); resp.StatusCode != 200 {
		t.Errorf("root: got %d %q, want 200", resp.StatusCode, text)
	}
}

// TestOneWhoEndsTheRequestEarly, as nc -N does, is told so: the daemon is well.
func TestOneWhoEndsTheRequestEarly(t *testing.T) {
	d := &fakeDaemon{hang: make(chan struct{})}
	r := serve(t, d, as(1000), func(l *limits) { l.read = time.Hour })
	defer close(d.hang)
	for _, target := range []string{"/v1/status", "/readyz"} {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := errors.Join(err, c.(*net.UnixConn).CloseWrite()); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 503 || !strings.Contains(string(text), "closed for writing before the answer") {
			t.Errorf("%s: got %d %q and error %v, want 503 and why", target, resp.StatusCode, text, err)
		}
	}
}

// TestSilentConnectionsMakeRoom: connections that send nothing do not keep others out for good.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	r := serve(t, &fakeDaemon{}, as(1000), func(l *limits) {
		l.connections, l.overflow, l.turnedAway, l.header = 1, 1, time.Millisecond, time.Millisecond
	})
	for range 10 {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "answer", func() bool {
		resp, err := r.client(false).Get("http://x/v1/status")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == 200
	})
}

func TestLargeRequests(t *testing.T) {
	r := serve(t, &fakeDaemon{}, as(0), nil)
	for _, c := range []struct {
		name, header string
		body         io.Reader
		want         int
	}{
		{"header of 8 KiB", strings.Repeat("x", 8<<10), nil, 200},
		{"small body", "", strings.NewReader(strings.Repeat("x", maxBody)), 200},
		{"large body", "", strings.NewReader(strings.Repeat("x", maxBody+1)), 413},
		{"large body of unknown length", "", io.LimitReader(zeros{}, maxBody+1), 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://x/v1/rotate", c.body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Test", c.header)
			if resp, text := r.do(t, req, false); resp.StatusCode != c.want {
				t.Errorf("got %d %q, want %d", resp.StatusCode, text, c.want)
			}
		})
	}
}

// TestALargerHeaderIsNotRead: the rest of it stays unread, so that the answer may not arrive.
func TestALargerHeaderIsNotRead(t *testing.T) {
	r := serve(t, &fakeDaemon{}, as(0), nil)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Test", strings.Repeat("x", 1<<20))
	resp, err := r.client(false).Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != 431 {
		t.Errorf("got %d, want 431", resp.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// watch opens a tail and waits until it has begun.
func watch(t *testing.T, r *rig, query string) (*json.Decoder, io.Closer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/v1/tail"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.client(false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		t.Fatalf("tail: got %d, want 200", resp.StatusCode)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return json.NewDecoder(resp.Body), resp.Body
}

func TestTail(t *testing.T) {
	d := &fakeDaemon{records: make(chan api.Record)}
	// A request has hardly any time, and a tail has all. On a busy machine a request may take
	// longer, and is made again.
	r := serve(t, d, as(1000), func(l *limits) { l.body, l.write = time.Millisecond, time.Millisecond })
	var dec *json.Decoder
	eventually(t, "a tail", func() bool {
		resp, err := r.client(false).Get("http://x/v1/tail?session=a-1&source=10.0.0.1")
		if err != nil {
			return false
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		dec = json.NewDecoder(resp.Body)
		return resp.StatusCode == 200
	})
	eventually(t, "the end of those that failed", func() bool { return d.subscriptions() == 1 })
	for _, f := range d.filters {
		if want := (api.Filter{ID: "a-1", Source: "10.0.0.1"}); f != want {
			t.Errorf("filter: got %+v, want %+v", f, want)
		}
	}
	for _, want := range []string{"one", "two"} {
		d.records <- api.Record{Kind: "message", Data: []byte(want)}
		var got api.Record
		if err := dec.Decode(&got); err != nil || string(got.Data) != want {
			t.Fatalf("got %+v and error %v, want %q", got, err, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: got %v, want no error", err)
	}
	var last api.Record
	if err := dec.Decode(&last); err != nil || last.Kind != api.KindRestart || last.Time.IsZero() {
		t.Errorf("got %+v and error %v, want the record of a restart", last, err)
	}
	if err := dec.Decode(&last); err != io.EOF {
		t.Errorf("got error %v, want the end", err)
	}
	if n := d.subscriptions(); n != 0 {
		t.Errorf("got %d subscriptions, want 0", n)
	}
}

func TestATailEndsWithItsReader(t *testing.T) {
	d := &fakeDaemon{}
	r := serve(t, d, as(1000), nil)
	_, body := watch(t, r, "")
	_ = body.Close()
	eventually(t, "end of the subscription", func() bool { return d.subscriptions() == 0 })
}

// TestSlowTails: of 100 tails half never read. They cost a bounded amount of memory, are closed,
// and make nobody wait; one more is refused.
func TestSlowTails(t *testing.T) {
	d := &fakeDaemon{records: make(chan api.Record)}
	r := serve(t, d, as(1000), func(l *limits) { l.tailWrite = 100 * time.Millisecond })
	before := heap()
	for range r.limits.tails / 2 {
		dec, _ := watch(t, r, "")
		go func() {
			var rec api.Record
			for dec.Decode(&rec) == nil { // reads until the end
			}
		}()
		watch(t, r, "") // never reads
	}
	if resp, text := r.ask(t, "GET", "/v1/tail", false); resp.StatusCode != 503 || !strings.Contains(text, "100 others") {
		t.Errorf("got %d %q, want 503", resp.StatusCode, text)
	}
	if resp, _ := r.ask(t, "GET", "/v1/status", false); resp.StatusCode != 200 {
		t.Errorf("status meanwhile: got %d, want 200", resp.StatusCode)
	}
	rec := api.Record{Kind: "message", Data: make([]byte, 16<<10)}
	for d.subscriptions() > r.limits.tails/2 {
		select {
		case d.records <- rec:
		case <-time.After(time.Millisecond): // all of them write
		}
	}
	// For each: a connection, its buffers, and a record of 16 KiB in several forms, on both
	// ends.
	if used := heap() - before; used > int64(r.limits.tails)*256<<10 {
		t.Errorf("got %d KiB in use, want at most %d", used>>10, r.limits.tails*256)
	}
}

// heap returns the bytes of memory in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestShutdownClosesIdleConnections, and does not wait for their clients.
func TestShutdownClosesIdleConnections(t *testing.T) {
	r := serve(t, &fakeDaemon{}, as(1000), nil)
	c := hold(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("got %d bytes and error %v, want the end", n, err)
	}
	if err := r.Serve(anyListener(t)); err != nil {
		t.Errorf("serve after shutdown: got %v, want nil at once", err)
	}
}

// TestShutdownHasATimeLimit: a request that hangs does not keep the daemon from ending.
func TestShutdownHasATimeLimit(t *testing.T) {
	d := &fakeDaemon{hang: make(chan struct{})}
	r := serve(t, d, as(1000), nil)
	defer close(d.hang)
	ended := make(chan error)
	go func() {
		_, err := r.client(false).Get("http://x/v1/status")
		ended <- err
	}()
	eventually(t, "call", func() bool { return len(r.calls) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Shutdown(ctx); err == nil {
		t.Error("got no error, want that of the context")
	}
	if err := <-ended; err == nil {
		t.Error("client: got no error, want a closed connection")
	}
}

func anyListener(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
