package pump_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/pump"
	"tcpmux/internal/await"
)

// sockets returns a client's two ends, with the daemon's as a conn.Conn, and a pump's other end as
// a file.
func sockets(t *testing.T) (client, theirs net.Conn, p *pump.Pump) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	daemons, err := conn.NewPoll(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	client = netConn(t, fds[1])
	p, end, err := pump.Start(daemons, pump.Options{Over: func() bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	end.Control(func(fd uintptr) {
		own, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		theirs = netConn(t, own)
	})
	end.Close()
	t.Cleanup(daemons.Close)
	return client, theirs, p
}

func netConn(t *testing.T, fd int) net.Conn {
	t.Helper()
	file := os.NewFile(uintptr(fd), "")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestSocketsCarryAll of two streams at once, in pieces of all sizes, and their ends.
func TestSocketsCarryAll(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	client, theirs, p := sockets(t)
	want := make([]byte, 4<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(want)
	send := func(c net.Conn, seed uint64) {
		sizes := rand.New(rand.NewPCG(seed, 0))
		for left := want; len(left) > 0; {
			n := min(1<<sizes.IntN(18), len(left))
			if _, err := c.Write(left[:n]); err != nil {
				t.Error(err)
				return
			}
			left = left[n:]
		}
		_ = c.(*net.UnixConn).CloseWrite()
	}
	heard := make(chan []byte, 2)
	for i, c := range []net.Conn{client, theirs} {
		go send(c, uint64(i))
		go func() {
			got, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			heard <- got
		}()
	}
	for range 2 {
		if got := <-heard; !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want the %d that were sent", len(got), len(want))
		}
	}
	p.End(0)
	if in, out := p.Bytes(); in != int64(len(want)) || out != in {
		t.Errorf("got %d and %d bytes, want %d each", in, out, len(want))
	}
	await.Until(t, func() bool { return runtime.NumGoroutine() <= goroutines }, func() {
		t.Errorf("goroutines: got %d, want %d", runtime.NumGoroutine(), goroutines)
	})
}

// TestWhoWritesToAClientThatIsGone is told.
func TestWhoWritesToAClientThatIsGone(t *testing.T) {
	client, theirs, p := sockets(t)
	_ = client.Close()
	if n, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %d bytes, %v, want the end", n, err)
	}
	var err error
	await.Until(t, func() bool {
		_, err = theirs.Write([]byte("in vain\n"))
		return err != nil
	}, func() { t.Error("it may write for ever") })
	if !errors.Is(err, unix.EPIPE) {
		t.Errorf("got %v, want %v", err, unix.EPIPE)
	}
	p.End(0)
	if _, err := p.Err(); !errors.Is(err, unix.EPIPE) {
		t.Errorf("got %v, want the error of the client's connection", err)
	}
}

// TestAnAnswerBeforeTheEnd reaches the client, though what it has sent was not read.
func TestAnAnswerBeforeTheEnd(t *testing.T) {
	client, theirs, p := sockets(t)
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(theirs, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("got %q, %v, want the answer", got, err)
	}
	p.End(0)
	if read, write := p.Err(); read != nil || write != nil {
		t.Errorf("got %v, %v, want no error of the client's", read, write)
	}
}
