package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// TestWithoutADaemonNothingIsTaken: a session's process whose daemon has gone leaves in the socket what nobody else has.
func TestWithoutADaemonNothingIsTaken(t *testing.T) {
	long := strings.Repeat("x", 2*moveSize)
	for _, c := range []struct{ name, framing, say string }{
		{"the beginning of a message", "line", long},
		{"messages", "line", "one\ntwo\n"},
		{"a message and the beginning of one", "line", "one\n" + long},
		{"the beginning of a piece", "length-prefixed", "\x00\x01\x00\x00" + long},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, fd := tcpPair(t)
			conn.say(c.say)
			eventually(t, func() bool { return unread(uintptr(fd)) == len(c.say) }, func() { t.Error("the bytes do not arrive") })
			k := orphanedClerk(t)
			settings := config.Default().Listeners[0]
			settings.Banner, settings.Framing = config.Bytes{}, c.framing
			k.listener.configure(settings, 0)
			s := beginSession(k.server, k.listener, record.Source{})
			if err := s.setModel(dup(t, fd)); err != nil {
				t.Fatal(err)
			}
			if why, err := s.model.serve(); why != bySink || !errors.Is(err, unix.EPIPE) {
				t.Errorf("the session ends: got %q and %v, want %q and %v", why, err, bySink, unix.EPIPE)
			}
			s.model.close()
			if got := unread(uintptr(fd)); got != len(c.say) {
				t.Errorf("left in the socket: got %d bytes, want all %d", got, len(c.say))
			}
		})
	}
}

// orphanedClerk is one whose daemon has gone, and which has not heard of it.
func orphanedClerk(t *testing.T) *clerk {
	t.Helper()
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	_ = ours.Close() // the daemon's
	k := newClerk(&orders{channel: theirs})
	k.server.notes = newNotes(k.post, hello{noting: true})
	return k
}

// tcpPair is a client and the descriptor of its connection's other end.
func tcpPair(t *testing.T) (c *client, fd int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c = dial(t, ln.Addr().String(), nil)
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	file, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	fd = dup(t, int(file.Fd()))
	t.Cleanup(func() { _, _ = file.Close(), unix.Close(fd) })
	return c, fd
}

// control calls f with the client's descriptor.
func (c *client) control(f func(fd uintptr)) {
	c.t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(f)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestAProcessOutlivesTheThreadThatAskedForIt: it is to die with the daemon, and the kernel has it die with a thread.
func TestAProcessOutlivesTheThreadThatAskedForIt(t *testing.T) {
	var w *worker
	var err error
	onEndingThread(t, func() {
		if w, err = startWorker(); err == nil {
			err = w.serveNobody(t) // it runs by then
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	if err := w.serveNobody(t); err != nil {
		t.Errorf("it serves no more: %v: %s", err, w.end())
	}
}

// serveNobody has the process serve a client that says nothing, to the end.
func (w *worker) serveNobody(t *testing.T) error {
	_, fd := tcpPair(t)
	connection := &heldFD{fd: fd}
	defer connection.close()
	if err := w.hello(connection, hello{}); err != nil {
		return err
	}
	w.order(orderExpire)
	w.allow(patience)
	kind, n, err := w.next(outSize)
	if err != nil || kind != parcelEnd {
		return fmt.Errorf("got parcel %q and %w, want its ending", kind, err)
	}
	_, err = w.body(nil, n)
	return err
}

// onEndingThread calls f on a thread that ends with it, and returns when it has ended.
func onEndingThread(t *testing.T, f func()) {
	t.Helper()
	ending := make(chan int, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			onEndingThread(t, f) // the first thread never ends, and is taken now
			ending <- 0
			return
		}
		f()
		ending <- unix.Gettid()
	}()
	if tid := <-ending; tid != 0 {
		task := fmt.Sprintf("/proc/self/task/%d", tid)
		eventually(t, func() bool {
			_, err := os.Stat(task)
			return os.IsNotExist(err)
		}, func() { t.Errorf("%s is still there", task) })
	}
}

// TestAProcessBelongsToTheDaemonThatHasStartedIt: what was orphaned before it could say whose it is serves nobody.
func TestAProcessBelongsToTheDaemonThatHasStartedIt(t *testing.T) {
	for _, args := range [][]string{{ChildName, "1"}, {ChildName, ""}, {ChildName}} {
		ours, theirs, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		_ = ours.Close() // there is nobody that could give it orders
		cmd := exec.Command("/proc/self/exe")
		cmd.Args, cmd.ExtraFiles = args, []*os.File{theirs}
		out, err := cmd.CombinedOutput()
		_ = theirs.Close()
		if want := "the daemon that has started it has ended"; err == nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%q: got %v and %q, want %q", args, err, out, want)
		}
	}
}
