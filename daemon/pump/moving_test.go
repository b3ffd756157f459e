package pump

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/internal/await"
)

// way is a direction between two TCP connections, and their other ends.
type way struct {
	Direction
	from, to *net.TCPConn
	verdict  atomic.Uint32
	ended    chan Outcome
}

// newWay returns one that runs.
func newWay(t *testing.T, change func(d *Direction)) *way {
	t.Helper()
	w := &way{ended: make(chan Outcome, 1)}
	var near [2]conn.Conn
	near[0], w.from = pair(t)
	near[1], w.to = pair(t)
	w.From, w.To, w.Spare, w.Splice = near[0], near[1], true, true
	if change != nil {
		change(&w.Direction)
	}
	go func() { w.ended <- w.Run(func() Verdict { return Verdict(w.verdict.Load()) }) }()
	t.Cleanup(func() {
		near[0].Expire()
		near[1].Expire()
		near[0].Close()
		near[1].Close()
	})
	return w
}

// pair returns a connection of TCP as the daemon has it, and its other end.
func pair(t *testing.T) (conn.Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	file, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	_ = accepted.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	near, err := conn.NewPoll(fd)
	if err != nil {
		t.Fatal(err)
	}
	return near, far.(*net.TCPConn)
}

func stream(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// TestMuchIsMoved by the kernel, and arrives as it was sent.
func TestMuchIsMoved(t *testing.T) {
	w := newWay(t, nil)
	want := stream(16 << 20)
	go func() {
		_, _ = w.from.Write(want)
		_ = w.from.CloseWrite()
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(w.to, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got other bytes than those sent, or %v", err)
	}
	if why := <-w.ended; !why.Ended || w.Bytes() != int64(len(want)) {
		t.Errorf("got %+v after %d bytes, want the end after %d", why, w.Bytes(), len(want))
	}
	if pipes.all == 0 {
		t.Error("no pipe was used")
	}
	if len(pipes.idle) != pipes.all {
		t.Errorf("%d pipes are idle, want %d", len(pipes.idle), pipes.all)
	}
}

// TestAnUrgentByteStaysInTheStream: splice(2) stops before it.
func TestAnUrgentByteStaysInTheStream(t *testing.T) {
	w := newWay(t, func(d *Direction) {
		d.From.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) })
	})
	want := stream(1 << 20)
	go func() {
		_, _ = w.from.Write(want[:500_000])
		raw, _ := w.from.SyscallConn()
		_ = raw.Write(func(fd uintptr) bool {
			return unix.Sendto(int(fd), want[500_000:500_001], unix.MSG_OOB, nil) != unix.EAGAIN
		})
		_, _ = w.from.Write(want[500_001:])
		_ = w.from.CloseWrite()
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(w.to, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got other bytes than those sent, or %v", err)
	}
}

// TestNothingIsInBetween when a direction is stopped: what was taken and not written is Left, and
// all else stays where it is.
func TestNothingIsInBetween(t *testing.T) {
	for _, splice := range []bool{false, true} {
		var blocked, held atomic.Bool
		w := newWay(t, func(d *Direction) {
			d.Splice = splice
			d.OnBlock = func() {
				held.Store(d.chunk != nil)
				blocked.Store(true)
			}
		})
		want := stream(64 << 20)
		go func() { _, _ = w.from.Write(want) }() // it does not fit: the test closes it
		await.Until(t, blocked.Load, func() { t.Error("it does not wait for room") })
		w.verdict.Store(uint32(Stop))
		w.From.Wake()
		w.To.SetWriteDeadline(time.Unix(1, 0))
		why := <-w.ended
		if why.Ended || why.Read != nil || why.Write != nil || why.Full {
			t.Errorf("splice %v: got %+v, want it stopped", splice, why)
		}
		if !splice && len(why.Left) > 0 {
			t.Errorf("got %d bytes left, want none of what is copied", len(why.Left))
		}
		// What was written, what is left and what is still there are the stream.
		got := make([]byte, w.Bytes())
		if _, err := io.ReadFull(w.to, got); err != nil {
			t.Fatal(err)
		}
		there := make([]byte, 100_000)
		n, err := w.From.Peek(there)
		if err != nil {
			t.Fatal(err)
		}
		got = append(append(got, why.Left...), there[:n]...)
		if !bytes.Equal(got, want[:len(got)]) {
			t.Errorf("splice %v: %d bytes written, %d left and %d there are not the stream", splice, w.Bytes(), len(why.Left), n)
		}
		if held.Load() || w.chunk != nil || w.pipe != nil {
			t.Error("a buffer is held, or was while it waited for room")
		}
	}
}

// TestTheLimitIsExact, also of what is moved.
func TestTheLimitIsExact(t *testing.T) {
	for _, most := range []int{1, 100, 100_000, 1_000_003} {
		w := newWay(t, func(d *Direction) { d.Limit = func() int64 { return int64(most) } })
		want := stream(2 << 20)
		go func() { _, _ = w.from.Write(want) }() // it fails when the test has ended
		got := make([]byte, most)
		if _, err := io.ReadFull(w.to, got); err != nil || !bytes.Equal(got, want[:most]) {
			t.Errorf("%d: got other bytes, or %v", most, err)
		}
		if why := <-w.ended; !why.Full || w.Bytes() != int64(most) {
			t.Errorf("%d: got %+v after %d bytes", most, why, w.Bytes())
		}
	}
}

// TestAResetIsSeenOnce: the kernel tells only one call of it, and that may be a splice(2).
func TestAResetIsSeenOnce(t *testing.T) {
	w := newWay(t, nil)
	want := stream(4 << 20)
	go func() { _, _ = w.from.Write(want) }()
	if _, err := io.ReadFull(w.to, make([]byte, len(want))); err != nil {
		t.Fatal(err)
	}
	_ = w.from.SetLinger(0)
	_ = w.from.Close()
	if why := <-w.ended; why.Read == nil || why.Ended {
		t.Errorf("got %+v, want a reset", why)
	}
}

// TestAnIdleDirectionHoldsNothing, after it has moved much.
func TestAnIdleDirectionHoldsNothing(t *testing.T) {
	w := newWay(t, nil)
	want := stream(1 << 20)
	go func() { _, _ = w.from.Write(want) }()
	if _, err := io.ReadFull(w.to, make([]byte, len(want))); err != nil {
		t.Fatal(err)
	}
	w.verdict.Store(uint32(Stop))
	w.From.Wake()
	<-w.ended
	if w.chunk != nil || w.pipe != nil || len(pipes.idle) != pipes.all {
		t.Errorf("it holds a chunk: %v, a pipe: %v; %d of %d pipes are idle", w.chunk != nil, w.pipe != nil, len(pipes.idle), pipes.all)
	}
}

// TestWithoutAPipeItCopies: all are in use.
func TestWithoutAPipeItCopies(t *testing.T) {
	var taken []*conn.Pipe
	for p := pipes.get(); p != nil; p = pipes.get() {
		taken = append(taken, p)
	}
	defer func() {
		for _, p := range taken {
			pipes.remove(p)
		}
	}()
	if len(taken) != maxPipes {
		t.Errorf("got %d pipes, want %d", len(taken), maxPipes)
	}
	w := newWay(t, nil)
	want := stream(1 << 20)
	go func() { _, _ = w.from.Write(want); _ = w.from.CloseWrite() }()
	if got, err := io.ReadAll(io.LimitReader(w.to, int64(len(want)))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// layer is one over a socket, which has room to say something when room says so.
type layer struct {
	conn.Conn
	room chan error
}

// Below implements conn.Layer.
func (l *layer) Below() conn.Conn { return l.Conn }

// AwaitRoom implements conn.Layer.
func (l *layer) AwaitRoom() error { return <-l.room }

// TestAnEndWaitsForRoomInALayer. If the direction is stopped meanwhile, the end is still to be
// carried.
func TestAnEndWaitsForRoomInALayer(t *testing.T) {
	for _, c := range []struct {
		name    string
		verdict Verdict
		room    error
		ended   bool
	}{
		{"there is room", Continue, nil, true},
		{"stopped", Stop, os.ErrDeadlineExceeded, false},
		{"over", Finish, os.ErrDeadlineExceeded, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &layer{room: make(chan error)}
			w := newWay(t, func(d *Direction) {
				l.Conn = d.To
				d.To = l
			})
			_, _ = w.from.Write([]byte("all")) // or it does not come to its end
			_ = w.from.CloseWrite()
			await.Until(t, w.Waits, func() { t.Error("it does not wait for room") })
			if w.Blocked() {
				t.Error("bytes wait for room, want the end alone")
			}
			w.verdict.Store(uint32(c.verdict))
			l.room <- c.room
			if why := <-w.ended; why.Ended != c.ended || why.Write != nil || w.Bytes() != 3 {
				t.Errorf("got %+v behind %d bytes, want it ended %v behind 3", why, w.Bytes(), c.ended)
			}
			if _, exact := conn.PollOf(l); !exact {
				t.Error("what is written to such a layer is not the socket's")
			}
		})
	}
}
