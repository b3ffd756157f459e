package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// workerStart is how long a worker may take to start and to take its orders.
	workerStart = 30 * time.Second
	// workerGrace is how long a worker may take for its client's last words before it is killed.
	workerGrace = 3 * time.Second
	// workerRest is how long a worker without a client is kept.
	workerRest = 10 * time.Second
)

// worker is a process that serves clients for the daemon, one at a time. Only the session that has it uses it.
type worker struct {
	process *os.Process
	channel *os.File
	head    [parcelHead]byte
	clients int         // served, the present one included
	rest    *time.Timer // ends it, while it has no client
	once    sync.Once   // it is reaped
	ended   string      // how it ended, once it is reaped
}

// startWorker starts a process, which waits for a client.
func startWorker() (*worker, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close() // the process has its own
	w := &worker{channel: ours}
	nothing, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		defer nothing.Close() // as of this
		onLastingThread(func() {
			w.process, err = os.StartProcess("/proc/self/exe", []string{ChildName, strconv.Itoa(os.Getpid())}, &os.ProcAttr{
				Env:   []string{"GOMAXPROCS=1", "GOMEMLIMIT=" + childHeap, "GOTRACEBACK=single"},
				Files: []*os.File{nothing, nothing, os.Stderr, theirs},
			})
		})
	}
	if err != nil {
		return nil, fmt.Errorf("start session process: %w", errors.Join(err, ours.Close()))
	}
	return w, nil
}

// socketPair returns two connected sockets: ours for Go's poller, theirs to be inherited.
func socketPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(pair[0]), "channel"), os.NewFile(uintptr(pair[1]), "channel"), nil
}

// hello gives the worker a client.
func (w *worker) hello(connection *heldFD, h hello) error {
	w.clients++
	w.allow(0)
	if err := w.channel.SetWriteDeadline(time.Now().Add(workerStart)); err != nil { // a large banner may not fit at once
		return err
	}
	raw, err := w.channel.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	connection.control(func(fd uintptr) {
		err = raw.Write(func(channel uintptr) bool {
			serr = unix.Sendmsg(int(channel), []byte{orderHello}, unix.UnixRights(int(fd)), nil, unix.MSG_NOSIGNAL)
			return serr != unix.EAGAIN
		})
	})
	if err := errors.Join(err, serr); err != nil {
		return fmt.Errorf("pass connection to session process: %w", err)
	}
	if _, err := w.channel.Write(h.appendTo(nil)); err != nil {
		return fmt.Errorf("tell session process: %w", err)
	}
	return nil
}

// order sends an order. A worker that has died need not be told; one that does not listen is killed, as nobody may wait for it.
func (w *worker) order(b ...byte) {
	_ = w.channel.SetWriteDeadline(time.Now().Add(workerGrace)) // it fails when closed, and so does Write
	if _, err := w.channel.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		_ = w.process.Kill() // it fails when it has ended
	}
}

// next waits for a parcel and returns what it is and how long its body.
func (w *worker) next(limit int) (kind byte, n int, err error) {
	if _, err := io.ReadFull(w.channel, w.head[:]); err != nil {
		return 0, 0, err
	}
	size := binary.BigEndian.Uint32(w.head[1:])
	if size == 0 || int64(size) > int64(limit) { // an int may have 32 bits: compared as one, a large size would be negative
		return 0, 0, errParcel
	}
	return w.head[0], int(size), nil
}

// body reads the body of a parcel into buf, or a larger one. A worker sends it in one go: it is not waited for.
func (w *worker) body(buf []byte, n int) ([]byte, error) {
	buf = slices.Grow(buf[:0], n)[:n]
	_, err := io.ReadFull(w.channel, buf)
	return buf, err
}

// allow gives the worker so long for what it sends next; 0: for ever.
func (w *worker) allow(d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = w.channel.SetReadDeadline(at) // it fails when closed, and so does the read
}

// end ends the process, if it has not ended, and returns how it did.
func (w *worker) end() string {
	w.once.Do(func() {
		_ = w.channel.Close() // whatever it held has been read
		_ = w.process.Kill()  // it fails when it has ended
		state, err := w.process.Wait()
		w.ended = fmt.Sprint(state)
		if err != nil {
			w.ended = err.Error()
		}
	})
	return w.ended
}

// workers are those without a client, kept for the next ones. They may be used from any goroutine.
type workers struct {
	start func() (*worker, error)

	mu      sync.Mutex
	resting []*worker // the last has rested least
	closed  bool
}

// take returns a worker, a new one when none rests.
func (p *workers) take() (*worker, error) {
	p.mu.Lock()
	last := len(p.resting) - 1
	if last < 0 {
		p.mu.Unlock()
		return p.start()
	}
	defer p.mu.Unlock()
	w := p.resting[last]
	p.resting = p.resting[:last]
	w.rest.Stop()
	return w, nil
}

// give takes back a worker whose client has gone, unless it has served as many as it may. It is kept for a while.
func (p *workers) give(w *worker, most int) {
	p.mu.Lock()
	keep := !p.closed && w.clients < most
	if keep {
		w.rest = time.AfterFunc(workerRest, func() { p.dismiss(w) })
		p.resting = append(p.resting, w)
	}
	p.mu.Unlock()
	if !keep {
		w.end()
	}
}

// dismiss ends a worker that has rested long enough, unless it was taken in that instant.
func (p *workers) dismiss(w *worker) {
	p.mu.Lock()
	i := slices.Index(p.resting, w)
	if i >= 0 {
		p.resting = slices.Delete(p.resting, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		w.end()
	}
}

// close ends those who rest, and those who are given back from now on.
func (p *workers) close() {
	p.mu.Lock()
	resting := p.resting
	p.resting, p.closed = nil, true
	p.mu.Unlock()
	for _, w := range resting {
		w.rest.Stop()
		w.end()
	}
}
