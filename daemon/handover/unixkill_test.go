package handover_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/state"
)

// takerVariable, set to anything, has the test binary be a process that takes from a unix socket
// until it is killed.
const takerVariable = "TCPMUX_TEST_TAKER"

// The descriptors of such a process.
const (
	takerSocket = 3 + iota
	takerFile
)

// takerCookie is that of its connection.
const takerCookie = 7

// TestAProcessThatIsKilledWhileItTakes from a unix socket has left how much that was, to the byte:
// process after process, each killed at any moment.
func TestAProcessThatIsKilledWhileItTakes(t *testing.T) {
	if os.Getenv(takerVariable) != "" {
		takeUntilKilled()
	}
	f, fd := newFeeder(t)
	file, err := state.NewUnix(1)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.Take(takerCookie)
	defer f.feed()()
	rnd := rand.New(rand.NewPCG(1, 2))
	last := int64(0)
	for range 150 {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), takerVariable+"=1")
		cmd.ExtraFiles = []*os.File{fd, os.NewFile(uintptr(dup(t, file.FD())), "")}
		ready, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.ExtraFiles[1].Close()
		if _, err := ready.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond) // any moment is right
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		got, want := settled(t, file.FD(), fd), f.taken(fd)
		if got != want {
			t.Fatalf("got %d bytes taken, want %d", got, want)
		}
		last = got
	}
	if last == 0 {
		t.Error("nothing was taken")
	}
	t.Logf("%d bytes were taken", last)
}

// takeUntilKilled takes what comes as a session does.
func takeUntilKilled() {
	file, err := state.OpenUnix(takerFile)
	if err != nil {
		panic(err)
	}
	e := file.Find(takerCookie)
	ahead, err := conn.PeekOffset(takerSocket)
	if err != nil {
		panic(err)
	}
	e.Settle(ahead)
	c := conn.Track(conn.NewThread(takerSocket, new(conn.Wakeup)), e)
	_, _ = os.Stdout.WriteString("ready")
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Peek(buf)
		if err != nil {
			continue
		}
		if rand.IntN(4) == 0 {
			n = rand.IntN(n + 1)
		}
		if err := c.Discard(n); err != nil {
			panic(err)
		}
	}
}

// feeder is a client that sends as much as it can.
type feeder struct {
	fd int

	mu      sync.Mutex
	written int64
}

// newFeeder returns one that sends nothing yet, and the end that is taken from.
func newFeeder(t *testing.T) (f *feeder, fd *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd = os.NewFile(uintptr(pair[1]), "")
	t.Cleanup(func() { _, _ = fd.Close(), unix.Close(pair[0]) })
	return &feeder{fd: pair[0]}, fd
}

// feed has it send until the returned function is called.
func (f *feeder) feed() (stop func()) {
	over := make(chan struct{})
	var feeding sync.WaitGroup
	feeding.Go(func() {
		rnd := rand.New(rand.NewPCG(3, 4))
		piece := make([]byte, 5000)
		for {
			select {
			case <-over:
				return
			default:
				f.send(piece[:1+rnd.IntN(len(piece))])
			}
		}
	})
	return func() {
		close(over)
		feeding.Wait()
	}
}

func (f *feeder) send(piece []byte) {
	f.mu.Lock()
	n, err := unix.SendmsgN(f.fd, piece, nil, nil, unix.MSG_DONTWAIT)
	f.written += int64(max(n, 0))
	f.mu.Unlock()
	if err != nil {
		time.Sleep(50 * time.Microsecond) // until there may be room
	}
}

// taken returns how much was taken, as the kernel has it: what was sent and is not there any more.
func (f *feeder) taken(fd *os.File) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written - int64(conn.Unread(fd.Fd()))
}

// settled returns how much the process that was killed has taken, as the next one would.
func settled(t *testing.T, file int, fd *os.File) int64 {
	t.Helper()
	next, err := state.OpenUnix(dup(t, file))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	ahead, err := conn.PeekOffset(fd.Fd())
	if err != nil {
		t.Fatal(err)
	}
	return next.Find(takerCookie).Settle(ahead)
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
