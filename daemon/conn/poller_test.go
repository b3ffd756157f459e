package conn

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pollPair returns a Poll, and the descriptor of its other end.
func pollPair(t *testing.T) (p *Poll, other int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[1]) })
	if p, err = NewPoll(fds[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, fds[1]
}

// taken has p wait for one byte and take it.
func taken(p *Poll) error {
	return p.Wait(func() bool {
		var buf [1]byte
		n, _ := p.Take(buf[:])
		return n > 0
	})
}

// TestEachPollIsWoken, however many there are, and each for what is its own.
func TestEachPollIsWoken(t *testing.T) {
	const n = 3 * len(block{})
	var others [n]int
	ended := make(chan error, n)
	for i := range n {
		var p *Poll
		p, others[i] = pollPair(t)
		go func() {
			for range 3 {
				if err := taken(p); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	for range 3 {
		for _, fd := range others {
			if _, err := unix.Write(fd, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range n {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// watched returns whether the poller watches a descriptor, as the kernel tells (proc_pid_fdinfo(5)).
func watched(t *testing.T, fd int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", poller.epoll))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "tfd:" && f[1] == fmt.Sprint(fd) {
			return true
		}
	}
	return false
}

// TestAClosedPollIsNotWatched even if somebody else has the connection too.
func TestAClosedPollIsNotWatched(t *testing.T) {
	p, _ := pollPair(t)
	fd := int(p.socket)
	if watched(t, fd) {
		t.Error("it is watched before it has waited")
	}
	kept, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(kept)
	if err := p.watch(unix.EPOLLIN); err != nil || !watched(t, fd) {
		t.Fatalf("got %v, want it to be watched", err)
	}
	p.Close()
	if watched(t, fd) || poller.table.at(fd) == p {
		t.Error("it is still watched")
	}
}

// TestCloseEndsWhatWaits, with an error of its own.
func TestCloseEndsWhatWaits(t *testing.T) {
	p, _ := pollPair(t)
	for n := 1; n > 0; {
		var err error
		if n, err = p.TryWrite(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 3)
	entered := make(chan bool, 1)
	go func() {
		ended <- p.Wait(func() bool {
			select {
			case entered <- true:
			default:
			}
			return false
		})
	}()
	go func() { ended <- p.Write([]byte("x")) }()
	go func() { ended <- p.AwaitRoom() }()
	<-entered
	p.Close()
	for range 3 {
		if err := <-ended; !errors.Is(err, os.ErrClosed) && err != unix.EBADF {
			t.Errorf("got %v, want %v", err, os.ErrClosed)
		}
	}
}

// TestADeadlineThatIsPutOffEndsNoWait, though the timer for the first one rings.
func TestADeadlineThatIsPutOffEndsNoWait(t *testing.T) {
	p, other := pollPair(t)
	p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if err := p.Wait(func() bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	p.SetReadDeadline(time.Now().Add(time.Hour))
	tries, ended := make(chan bool), make(chan error, 1)
	go func() {
		n := 0
		ended <- p.Wait(func() bool { n++; tries <- true; return n == 3 })
	}()
	<-tries
	p.in.deadline.wake() // as the timer does that was set before
	<-tries
	if _, err := unix.Write(other, []byte("x")); err != nil {
		t.Fatal(err)
	}
	<-tries
	if err := <-ended; err != nil {
		t.Errorf("got %v, want none", err)
	}
}

// TestAClosedPollIsNotKeptByItsDeadline, which may be far.
func TestAClosedPollIsNotKeptByItsDeadline(t *testing.T) {
	p, _ := pollPair(t)
	later := time.Now().Add(time.Hour)
	p.SetReadDeadline(later)
	p.SetWriteDeadline(later)
	out := p.out.Load()
	p.in.deadline.set()
	out.deadline.set()
	p.Close()
	for name, a := range map[string]*alarm{"read": p.in.deadline, "write": out.deadline} {
		if a.timer.Load().Stop() {
			t.Errorf("%s: the timer runs", name)
		}
	}
}

// TestADeadlineThatIsRemovedKeepsNothing, and one that is set again is kept.
func TestADeadlineThatIsRemovedKeepsNothing(t *testing.T) {
	p, _ := pollPair(t)
	p.SetReadDeadline(time.Now().Add(time.Hour))
	p.in.deadline.set()
	p.SetReadDeadline(time.Time{})
	if p.in.deadline.timer.Load().Stop() {
		t.Error("the timer runs")
	}
	p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if err := p.Wait(func() bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

// TestThePollerStartsWhenItCan, though it could not at first.
func TestThePollerStartsWhenItCan(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	var e epoller
	err := e.start()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EMFILE) {
		t.Fatalf("got %v, want %v", err, unix.EMFILE)
	}
	if err := e.start(); err != nil {
		t.Error(err)
	}
}

// TestADeadlineThatIsBroughtForwardEndsAWait at its time.
func TestADeadlineThatIsBroughtForwardEndsAWait(t *testing.T) {
	p, _ := pollPair(t)
	p.SetReadDeadline(time.Now().Add(time.Hour))
	p.in.deadline.set()
	p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if err := p.Wait(func() bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}
