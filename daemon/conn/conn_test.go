package conn_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPeekLeavesWhatTakeAndDiscardRemove: what was only looked at is still the kernel's.
func TestPeekLeavesWhatTakeAndDiscardRemove(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		buf := make([]byte, 10)
		if n, err := p.Peek(buf); n > 0 || err != unix.EAGAIN {
			t.Errorf("nothing sent: got %d bytes, %v, want %v", n, err, unix.EAGAIN)
		}
		if n, err := p.Take(buf); n > 0 || err != unix.EAGAIN {
			t.Errorf("nothing sent: took %d bytes, %v, want %v", n, err, unix.EAGAIN)
		}
		p.send("abcdef")
		p.awaitUnread(t, 6)
		for range 2 {
			if got, err := p.peek(t, 3); got != "abc" || err != nil {
				t.Errorf("peek: got %q, %v, want %q", got, err, "abc")
			}
		}
		if n, err := p.Take(buf[:2]); string(buf[:max(n, 0)]) != "ab" || err != nil {
			t.Errorf("take: got %q, %v, want %q", buf[:max(n, 0)], err, "ab")
		}
		if err := p.Discard(0); err != nil || p.Unread() != 4 {
			t.Errorf("discard nothing: got %v and %d bytes left, want 4", err, p.Unread())
		}
		if err := p.Discard(2); err != nil || p.Unread() != 2 {
			t.Errorf("discard: got %v and %d bytes left, want 2", err, p.Unread())
		}
		if got, err := p.peek(t, 10); got != "ef" || err != nil {
			t.Errorf("peek: got %q, %v, want %q", got, err, "ef")
		}
		if err := p.Discard(3); err == nil || p.Unread() != 0 {
			t.Errorf("discard more than has come: got %v and %d bytes left, want an error and none", err, p.Unread())
		}
	})
}

// TestEndOfStream: no bytes and no error, behind all that was sent, and as often as it is asked
// for.
func TestEndOfStream(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.send("ab")
		p.sendEnd()
		eventually(t, func() bool { _, ended := p.Readable(); return ended })
		if got, err := p.peek(t, 10); got != "ab" || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, "ab")
		}
		if err := p.Discard(2); err != nil {
			t.Error(err)
		}
		for range 2 {
			if got, err := p.peek(t, 10); got != "" || err != nil {
				t.Errorf("got %q, %v, want the end", got, err)
			}
		}
		if err := p.Discard(1); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("discard: got %v, want %v", err, unix.ECONNRESET)
		}
		if _, err := p.TryWrite([]byte("still")); err != nil || p.receive(5) != "still" {
			t.Errorf("write after the client's end: got %v", err)
		}
	})
}

// TestResetIsReadBehindWhatArrived, once; from there on the connection has ended.
func TestResetIsReadBehindWhatArrived(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.send("ab")
		p.awaitUnread(t, 2)
		p.reset()
		eventually(t, func() bool { some, ended := p.Readable(); return some && ended })
		if got, err := p.peek(t, 10); got != "ab" || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, "ab")
		}
		if err := p.Discard(2); err != nil {
			t.Error(err)
		}
		if got, err := p.peek(t, 10); got != "" || err != unix.ECONNRESET {
			t.Errorf("got %q, %v, want %v", got, err, unix.ECONNRESET)
		}
		if got, err := p.peek(t, 10); got != "" || err != nil {
			t.Errorf("got %q, %v, want the end", got, err)
		}
		if _, err := p.TryWrite([]byte("x")); !errors.Is(err, unix.EPIPE) {
			t.Errorf("write: got %v, want %v", err, unix.EPIPE)
		}
	})
}

// TestResetIsWhatAWriteReturns if nobody has read it.
func TestResetIsWhatAWriteReturns(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.reset()
		eventually(t, func() bool { _, ended := p.Readable(); return ended })
		if _, err := p.TryWrite([]byte("x")); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the first: got %v, want %v", err, unix.ECONNRESET)
		}
		if err := p.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
			t.Errorf("the second: got %v, want %v", err, unix.EPIPE)
		}
		if got, err := p.peek(t, 10); got != "" || err != nil {
			t.Errorf("peek: got %q, %v, want the end", got, err)
		}
	})
}

// TestWaitTriesUntilItIsSatisfied, also when it takes several arrivals.
func TestWaitTriesUntilItIsSatisfied(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		buf := make([]byte, 10)
		ended := make(chan error, 1)
		tries := make(chan int, 100)
		go func() {
			ended <- p.Wait(func() bool {
				n, _ := p.Peek(buf)
				p.SetLowWater(max(n, 0) + 1) // or a Thread would try without pause
				tries <- max(n, 0)
				return n == 4
			})
		}()
		for i, text := range []string{"a", "b", "cd"} {
			p.send(text)
			for want := min(i+1, 2); next(t, tries) < want; {
			}
		}
		if err := next(t, ended); err != nil {
			t.Error(err)
		}
	})
}

// TestLowWater: half a message that was seen wakes nobody, but an end behind it does.
func TestLowWater(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.send("half")
		p.awaitUnread(t, 4)
		if some, ended := p.Readable(); !some || ended {
			t.Errorf("got %v and ended %v, want something and no end", some, ended)
		}
		p.SetLowWater(6)
		p.send(".")
		p.awaitUnread(t, 5)
		if some, ended := p.Readable(); some || ended {
			t.Errorf("below: got %v and ended %v, want nothing", some, ended)
		}
		p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		isDeadline(t, result(t, func() error { return p.Wait(func() bool { some, _ := p.Readable(); return some }) }))
		p.SetReadDeadline(time.Time{})
		p.send(".")
		p.awaitUnread(t, 6)
		if some, ended := p.Readable(); !some || ended {
			t.Errorf("reached: got %v and ended %v, want something and no end", some, ended)
		}
		p.SetLowWater(100)
		p.sendEnd()
		if got, err := p.peek(t, 10); got != "half.." || err != nil {
			t.Errorf("got %q, %v, want all", got, err)
		}
		eventually(t, func() bool { some, ended := p.Readable(); return some && ended })
	})
}

// TestCallsEndBeforeAnUrgentByte, which stays in the stream.
func TestCallsEndBeforeAnUrgentByte(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.send("ab")
		p.sendUrgent('!')
		p.send("cd")
		p.awaitUnread(t, 5)
		if got, err := p.peek(t, 10); got != "ab" || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, "ab")
		}
		if err := p.Discard(1); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 10)
		if n, err := p.Take(buf); string(buf[:max(n, 0)]) != "b" || err != nil {
			t.Errorf("take: got %q, %v, want %q", buf[:max(n, 0)], err, "b")
		}
		if got, err := p.peek(t, 10); got != "!cd" || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, "!cd")
		}
		if err := p.Discard(3); err != nil || p.Unread() != 0 {
			t.Errorf("discard: got %v and %d bytes left", err, p.Unread())
		}
	})
}

// TestDiscardGoesBeyondAnUrgentByte: each of its calls ends there, but not it.
func TestDiscardGoesBeyondAnUrgentByte(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.send("ab")
		p.sendUrgent('!')
		p.send("cd")
		p.awaitUnread(t, 5)
		if err := p.Discard(4); err != nil {
			t.Error(err)
		}
		if got, err := p.peek(t, 10); got != "d" || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, "d")
		}
	})
}

func TestReadDeadline(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		isDeadline(t, result(t, func() error { return p.Wait(never) }))
		isDeadline(t, result(t, func() error { return p.Wait(never) }))
		p.send("x")
		p.awaitUnread(t, 1)
		isDeadline(t, result(t, func() error { return p.Wait(func() bool { return true }) }))
		for _, later := range []time.Time{{}, time.Now().Add(time.Hour)} {
			p.SetReadDeadline(later)
			if got, err := p.peek(t, 1); got != "x" || err != nil {
				t.Errorf("by %v: got %q, %v, want %q", later, got, err, "x")
			}
		}
	})
}

// TestCloseWrite: the client sees the end, and may go on sending.
func TestCloseWrite(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.CloseWrite()
		if got := p.receiveEnd(); got != "" {
			t.Errorf("received %q, want the end", got)
		}
		if _, err := p.TryWrite([]byte("x")); !errors.Is(err, unix.EPIPE) {
			t.Errorf("try: got %v, want %v", err, unix.EPIPE)
		}
		if err := result(t, func() error { return p.Write([]byte("x")) }); !errors.Is(err, unix.EPIPE) {
			t.Errorf("write: got %v, want %v", err, unix.EPIPE)
		}
		p.send("more")
		p.awaitUnread(t, 4)
		if got, err := p.peek(t, 10); got != "more" || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, "more")
		}
	})
}

// TestHangUp: both sides see the end, and the client no reset, although it has sent what nobody
// read.
func TestHangUp(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		p.send("unread")
		p.awaitUnread(t, 6)
		p.SetLowWater(10)
		ended := make(chan error, 1)
		go func() {
			ended <- p.Wait(func() bool { _, over := p.Readable(); return over })
		}()
		p.HangUp()
		if err := next(t, ended); err != nil {
			t.Errorf("a wait that was under way: %v", err)
		}
		if n := p.Unread(); n != 0 {
			t.Errorf("unread: got %d bytes, want none", n)
		}
		if got, err := p.peek(t, 10); got != "" || err != nil {
			t.Errorf("got %q, %v, want the end", got, err)
		}
		p.Close()
		if got := p.receiveEnd(); got != "" {
			t.Errorf("received %q, want the end", got)
		}
	})
}

// TestNothingIsDoneAfterClose to a descriptor that may be another connection's by now.
func TestNothingIsDoneAfterClose(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		if !p.LocalAddr().IsValid() {
			t.Errorf("before: got %v, want an address", p.LocalAddr())
		}
		p.Close()
		p.Close()
		p.Control(func(uintptr) { t.Error("got a descriptor, want none") })
		p.Wake()
		p.Expire()
		p.CloseWrite()
		p.HangUp()
		p.ring()
		if got := p.LocalAddr(); got.IsValid() {
			t.Errorf("address: got %v, want none", got)
		}
	})
}

// TestCloseWaitsForControl: no descriptor is closed, and given to another connection, under a call.
func TestCloseWaitsForControl(t *testing.T) {
	everyKind(t, func(t *testing.T, p *pair) {
		inside, leave, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		called := make(chan error, 1)
		go func() {
			err := errors.New("not called")
			p.Control(func(fd uintptr) {
				close(inside)
				<-leave
				_, err = unix.FcntlInt(fd, unix.F_GETFD, 0)
			})
			called <- err
		}()
		select {
		case <-inside:
		case err := <-called: // it has no descriptor
			if p.ring(); err.Error() != "not called" {
				t.Error(err)
			}
			return
		}
		go func() { p.Close(); closed <- nil }()
		close(leave)
		if err := next(t, called); err != nil {
			t.Errorf("the descriptor within Control: %v", err)
		}
		_ = next(t, closed)
	})
}
