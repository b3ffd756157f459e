package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn/conntest"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/session"
	"tcpmux/internal/await"
)

// TestWithoutADaemonNothingIsTaken: a session process whose daemon has gone leaves in the socket
// what nobody else has.
func TestWithoutADaemonNothingIsTaken(t *testing.T) {
	for _, c := range []struct {
		name string
		kind framing.Kind
		say  string
	}{
		{"the beginning of a message", framing.Line, beginning},
		{"messages", framing.Line, "one\ntwo\n"},
		{"a message and the beginning of one", framing.Line, "one\n" + beginning},
		{"the beginning of a piece", framing.LengthPrefixed, "\x00\x01\x00\x00" + beginning},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := conntest.New()
			client.Send(c.say)
			_, recorder := serveTo(noDaemon{}, client, setupWith(c.kind))
			if why, err := recorder.Serve(); why != session.BySink || !errors.Is(err, unix.EPIPE) {
				t.Errorf("the session ends: got %q and %v, want %q and %v", why, err, session.BySink, unix.EPIPE)
			}
			if got := client.Unread(); got != len(c.say) {
				t.Errorf("left in the socket: got %d bytes, want all %d", got, len(c.say))
			}
		})
	}
}

// TestTheDaemonMustKeepToTheProtocol too: what it must not send ends the process.
func TestTheDaemonMustKeepToTheProtocol(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"nothing", nil, nil},
		{"half a header", []byte("\x01\x00"), io.ErrUnexpectedEOF},
		{"a setup without a connection", setupWith(framing.Line).append(nil), errProtocol},
		{"a control before the setup", appendFrame(nil, frameControl, &control{}), errProtocol},
		{"an answer to nothing", written.append(nil), errProtocol},
		{"messages", []byte("\x04\x00\x00\x00\x01x"), errProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs, err := socketPair()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			_, err = ours.Write(c.frame)
			if err := errors.Join(err, ours.Close()); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.FcntlInt(theirs.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ch, err := newChannel(fd)
			if err != nil {
				t.Fatal(err)
			}
			defer ch.file.Close()
			if err := newChildServer(ch).serve(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestAProcessOutlivesTheThreadThatAskedForIt: it is to die with the daemon, and the kernel has it
// die with a thread.
func TestAProcessOutlivesTheThreadThatAskedForIt(t *testing.T) {
	var w *worker
	var err error
	onEndingThread(t, func() {
		if w, err = start(); err == nil {
			err = serveNobody(t, w) // it runs by then
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	if err := serveNobody(t, w); err != nil {
		t.Errorf("it serves no more: %v: %s", err, w.end())
	}
}

// serveNobody has the process serve a client that says nothing, to the end.
func serveNobody(t *testing.T, w *worker) error {
	_, c := tcpPair(t)
	if err := w.setup(c, setupWith(framing.Line)); err != nil {
		return err
	}
	w.control(control{Phase: session.Over})
	w.allow(startTimeout)
	h, err := w.next(toDaemon(1))
	if err != nil || h.Kind != frameEnd {
		return fmt.Errorf("got frame %+v and %w, want its end", h, err)
	}
	body, err := w.body(nil, h.Size)
	if err != nil {
		return err
	}
	if e, err := parseEnd(body); err != nil || e.reason != session.ByDrain {
		return fmt.Errorf("got %+v and %w, want reason %q", e, err, session.ByDrain)
	}
	return nil
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
		await.Until(t, func() bool { _, err := os.Stat(task); return os.IsNotExist(err) },
			func() { t.Errorf("%s is still there", task) })
	}
}

// TestAProcessBelongsToTheDaemonThatHasStartedIt: one that was orphaned before it could say whose
// it is serves nobody.
func TestAProcessBelongsToTheDaemonThatHasStartedIt(t *testing.T) {
	for _, args := range [][]string{{ProcessName, "1"}, {ProcessName, ""}, {ProcessName}} {
		ours, theirs, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		_ = ours.Close() // nobody is there to control it
		cmd := exec.Command("/proc/self/exe")
		cmd.Args, cmd.ExtraFiles = args, []*os.File{theirs}
		out, err := cmd.CombinedOutput()
		_ = theirs.Close()
		if want := "the daemon that has started it has ended"; err == nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%q: got %v and %q, want %q", args, err, out, want)
		}
	}
}
