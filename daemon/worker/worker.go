package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/spawn"
)

const (
	// startTimeout is how long a worker may take to start and to read a setup.
	startTimeout = 30 * time.Second
	// grace is how long a worker may take over what it has to do at once before it is killed:
	// to end a session whose time to finish is over, to send the rest of a frame, and to read
	// what it is sent.
	grace = 3 * time.Second
)

// worker is a process that serves clients for the daemon, one at a time. Only the session that has
// it uses it.
type worker struct {
	pool    *Pool // that counts it; nil: nobody does
	process *os.Process
	channel *os.File
	header  []byte      // of the frame that was read last
	out     []byte      // the frame that was sent last, to be used again
	clients int         // served, with the present one
	rest    *time.Timer // ends it, while it has no client
	once    sync.Once   // it is reaped
	ended   string      // how it has ended, once it is reaped
}

// start starts a worker, which waits for a client.
func start() (*worker, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close() // the process has its own
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("start session process: %w", errors.Join(err, ours.Close()))
	}
	defer null.Close() // likewise
	w := newWorker(ours)
	spawn.OnLastingThread(func() {
		args := []string{ProcessName, strconv.Itoa(os.Getpid())}
		w.process, err = os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
			Env: []string{"GOMAXPROCS=1", "GOMEMLIMIT=" + processHeap, "GOTRACEBACK=single"},
			// The last is processChannel.
			Files: []*os.File{null, null, os.Stderr, theirs},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("start session process: %w", errors.Join(err, ours.Close()))
	}
	return w, nil
}

// newWorker returns a worker that has no process yet.
func newWorker(channel *os.File) *worker {
	return &worker{channel: channel, header: make([]byte, frameHeaderSize)}
}

// socketPair returns two connected sockets: ours for Go's poller, theirs to be inherited.
func socketPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(pair[0]), "channel"), os.NewFile(uintptr(pair[1]), "channel"), nil
}

// setup gives the worker a client.
func (w *worker) setup(c conn.Conn, s *setup) error {
	w.clients++
	w.allow(0)
	// Not all of it may fit at once.
	if err := w.channel.SetWriteDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	frame := s.append(nil)
	n, err := w.pass(c, frame[:frameHeaderSize])
	if err != nil {
		return fmt.Errorf("pass connection to session process: %w", err)
	}
	if _, err := w.channel.Write(frame[n:]); err != nil {
		return fmt.Errorf("set up session process: %w", err)
	}
	return nil
}

// pass sends b with the connection's descriptor, and returns how much of b was sent.
func (w *worker) pass(c conn.Conn, b []byte) (n int, err error) {
	raw, err := w.channel.SyscallConn()
	if err != nil {
		return 0, err
	}
	serr := os.ErrClosed
	c.Control(func(fd uintptr) {
		err = raw.Write(func(channel uintptr) bool {
			n, serr = unix.SendmsgN(int(channel), b, unix.UnixRights(int(fd)), nil, unix.MSG_NOSIGNAL)
			return serr != unix.EAGAIN
		})
	})
	return n, errors.Join(err, serr)
}

// control tells the worker how the daemon stands to its client now.
func (w *worker) control(c control) { w.send(appendFrame(w.out[:0], frameControl, &c)) }

// answer tells the worker what has become of its messages, or of a checkpoint.
func (w *worker) answer(a answer) { w.send(a.append(w.out[:0])) }

// send sends a frame. A worker that has died need not be told; one that does not read is killed, as
// nobody may have to wait for it.
func (w *worker) send(frame []byte) {
	w.out = frame
	// It fails when closed, and so does Write.
	_ = w.channel.SetWriteDeadline(time.Now().Add(grace))
	if _, err := w.channel.Write(frame); errors.Is(err, os.ErrDeadlineExceeded) {
		_ = w.process.Kill() // it fails when it has ended
	}
}

// next waits for a frame that accept allows, and returns its header.
func (w *worker) next(accept *limits) (frameHeader, error) {
	return accept.readHeader(w.channel, w.header)
}

// body reads the body of a frame into buf, or a larger one. A worker sends it in one go, so it has
// the grace alone.
func (w *worker) body(buf []byte, size uint32) ([]byte, error) {
	w.allow(grace)
	buf = slices.Grow(buf[:0], int(size))[:size]
	_, err := io.ReadFull(w.channel, buf)
	return buf, err
}

// allow gives the worker a time for what it sends next; 0 is no limit.
func (w *worker) allow(d time.Duration) {
	var by time.Time
	if d > 0 {
		by = time.Now().Add(d)
	}
	_ = w.channel.SetReadDeadline(by) // it fails when closed, and so does the read
}

// end ends the process, if it has not ended, and returns how it has.
func (w *worker) end() string {
	w.once.Do(func() {
		_ = w.channel.Close() // whatever it held was read
		_ = w.process.Kill()  // it fails when it has ended
		state, err := w.process.Wait()
		if w.pool != nil {
			w.pool.alive.Add(-1)
		}
		w.ended = fmt.Sprint(state)
		if err != nil {
			w.ended = err.Error()
		}
	})
	return w.ended
}
