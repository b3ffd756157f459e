package worker

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn/conntest"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
	"tcpmux/daemon/session"
	"tcpmux/internal/fuzzing"
)

func TestAClientWaitsForAProcess(t *testing.T) {
	var tries atomic.Int64
	pool := NewPool(nil)
	pool.start = func() (*worker, error) {
		if tries.Add(1) <= 3 {
			return nil, unix.EAGAIN
		}
		return start()
	}
	defer pool.Close()
	client, c := tcpPair(t)
	f := newFixture(pool, c, nil)
	ended := f.start()
	if _, err := client.Write([]byte("patient\n")); err != nil {
		t.Fatal(err)
	}
	_ = client.CloseWrite()
	if got, err := io.ReadAll(client); err != nil || string(got) != "hello\r\n" {
		t.Errorf("heard %q, %v, want the banner", got, err)
	}
	<-ended
	if got := f.out.String(); !strings.HasSuffix(got, ": patient\n") {
		t.Errorf("records: got %q", got)
	}
	f.logged(t, "session processes cannot be started, their clients wait", "session processes can be started again")
}

// TestTheEndDoesNotWaitForAProcess that cannot be started.
func TestTheEndDoesNotWaitForAProcess(t *testing.T) {
	for _, c := range []struct {
		name   string
		phase  session.Phase
		closes int // how many records tell of the session's end
	}{
		{"the time to finish is over", session.Over, 1},
		{"the next daemon can try", session.Leaving, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pool := NewPool(nil)
				pool.start = func() (*worker, error) { return nil, unix.EAGAIN }
				f := newFixture(pool, conntest.New(), func(cfg *session.Config) { cfg.Events = config.AllEvents })
				ended := f.start()
				time.Sleep(time.Hour)
				select {
				case <-ended:
					t.Error("it has ended, want it to wait")
				default:
				}
				f.Enter(c.phase)
				<-ended
				if n := strings.Count(f.out.String(), ": process, 0 records, 0 bytes\n"); n != c.closes {
					t.Errorf("got %q, want %d records of its end", f.out.String(), c.closes)
				}
			})
		})
	}
}

// messages is a frame of messages.
func messages(all ...record.Message) (frame []byte) {
	var body []byte
	for i := range all {
		body = appendMessage(body, &all[i])
	}
	return append(frameHeader{frameMessages, uint32(len(body))}.append(nil), body...)
}

// ending is the frame of an end.
func ending(why session.Reason, offset int64) []byte {
	e := end{endHeader: endHeader{Progress: progress{Offset: offset}}, reason: why}
	return e.append(nil)
}

// serveFrames has a worker that sends frames, and then no more, serve a session.
func serveFrames(t testing.TB, frames []byte) (f *fixture, why session.Reason, err error) {
	pool := poolOfFrames(t, frames)
	f = newFixture(pool, newFakeConn(t), nil)
	service, err := pool.Service(f.Session)
	if err != nil {
		t.Fatal(err)
	}
	why, err = service.Serve()
	return f, why, err
}

// runFrames is serveFrames for a whole session, with a change made to it.
func runFrames(t testing.TB, frames []byte, change func(*session.Config)) *fixture {
	f := newFixture(poolOfFrames(t, frames), newFakeConn(t), change)
	f.Run()
	return f
}

// poolOfFrames returns a pool of one worker, which sends frames, and then no more.
func poolOfFrames(t testing.TB, frames []byte) *Pool {
	w, theirs := newFakeWorker(t)
	pool := NewPool(nil)
	pool.start = func() (*worker, error) { return w, nil }
	t.Cleanup(pool.Close)
	// Setup and answers, until the worker is ended.
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	if _, err := theirs.Write(frames); err != nil {
		t.Fatal(err)
	}
	raw, err := theirs.SyscallConn()
	if err == nil {
		// Nothing follows.
		err = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// TestWhatAProcessSends is recorded as far as the protocol allows it.
func TestWhatAProcessSends(t *testing.T) {
	one := record.Message{Raw: []byte("one\n"), EndLen: 1}
	two := record.Message{Raw: []byte("two"), Flag: "eof"}
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   string // records
		why    session.Reason
		err    error
	}{
		{"messages", [][]byte{messages(one, two), ending(session.ByEOF, 7)}, ": one\n [eof]: two\n", session.ByEOF, nil},
		{"frames of messages", [][]byte{messages(one), messages(two), ending(session.ByIdle, 7)}, ": one\n [eof]: two\n", session.ByIdle, nil},
		{"an end elsewhere", [][]byte{messages(one), ending(session.ByEOF, 5)}, ": one\n", session.ByProcess, errProtocol},
		{"a reason of the daemon's", [][]byte{ending(session.ByProxy, 0)}, "", session.ByProcess, errProtocol},
		{"a frame of the daemon's", [][]byte{written.append(nil)}, "", session.ByProcess, errProtocol},
		{"a checkpoint elsewhere", [][]byte{messages(one), (&checkpoint{}).append(nil)}, ": one\n", session.ByProcess, errProtocol},
		{"half a message", [][]byte{messages(one), frameHeader{frameMessages, 3}.append(nil), []byte("abc")}, ": one\n", session.ByProcess, errProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, why, err := serveFrames(t, bytes.Join(c.frames, nil))
			if got := withoutHeads(f.out.String()); got != c.want {
				t.Errorf("records: got %q, want %q", got, c.want)
			}
			if why != c.why || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v, want %q, %v", why, err, c.why, c.err)
			}
		})
	}
}

// TestAnOpeningGoesWithItsMessages: the process has sent a message and then broken the protocol, so
// the message is not recorded, nor is the opening that was to come with it.
func TestAnOpeningGoesWithItsMessages(t *testing.T) {
	one := record.Message{Raw: []byte("one\n"), EndLen: 1}
	faulty := append(messages(one)[len(frameHeader{}.append(nil)):], "abc"...)
	faulty = append(frameHeader{frameMessages, uint32(len(faulty))}.append(nil), faulty...)
	for _, c := range []struct {
		name   string
		frames []byte
		want   string
	}{
		{"no message before", faulty, ""},
		{"a message before", append(messages(one), faulty...), "\n: one\n: process, 1 records, 8 bytes\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := runFrames(t, c.frames, func(cfg *session.Config) { cfg.Events = config.EventsOnData })
			if got := withoutHeads(f.out.String()); got != c.want {
				t.Errorf("records: got %q, want %q", got, c.want)
			}
		})
	}
}

// withoutHeads returns records without what stands before the flag or the data.
func withoutHeads(records string) (s string) {
	for line := range strings.Lines(records) {
		_, line, _ = strings.Cut(line, "from 192.0.2.1:1")
		s += line
	}
	return s
}

// TestAProcessThatBreaksOff within a frame, or between two, costs what it has not sent.
func TestAProcessThatBreaksOff(t *testing.T) {
	frame := messages(record.Message{Raw: []byte("one\n"), EndLen: 1})
	for n := range len(frame) {
		f, why, err := serveFrames(t, frame[:n])
		if why != session.ByProcess || err == nil || f.out.String() != "" {
			t.Errorf("after %d bytes: got %q, %v and records %q, want %q", n, why, err, f.out.String(), session.ByProcess)
		}
	}
}

// TestAWorkerIsGivenBack once its session has ended well, and ends with it otherwise.
func TestAWorkerIsGivenBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		frames []byte
		rests  int
	}{
		{"a good end", ending(session.ByEOF, 0), 1},
		{"none", nil, 0},
		{"a bad end", ending(session.ByProxy, 0), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, theirs := newFakeWorker(t)
			pool := NewPool(nil)
			pool.start = func() (*worker, error) { return w, nil }
			defer pool.Close()
			if _, err := theirs.Write(c.frames); err != nil {
				t.Fatal(err)
			}
			if c.rests == 0 {
				raw, _ := theirs.SyscallConn()
				_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
			}
			f := newFixture(pool, newFakeConn(t), nil)
			service, _ := pool.Service(f.Session)
			_, _ = service.Serve()
			service.Changed() // does no harm
			if got := len(pool.resting); got != c.rests {
				t.Errorf("got %d workers at rest, want %d", got, c.rests)
			}
			if ended := w.ended != ""; ended == (c.rests > 0) {
				t.Errorf("ended: got %v", ended)
			}
		})
	}
}

// TestChangesReachTheWorker in order, and none before its setup.
func TestChangesReachTheWorker(t *testing.T) {
	w, theirs := newFakeWorker(t)
	pool := NewPool(nil)
	pool.start = func() (*worker, error) { return w, nil }
	defer pool.Close()
	f := newFixture(pool, newFakeConn(t), nil)
	f.Enter(session.Draining)
	ended := f.start()
	header := make([]byte, frameHeaderSize)
	next := func(kind frameKind) []byte {
		t.Helper()
		h, err := toProcess.readHeader(theirs, header)
		if err != nil || h.Kind != kind {
			t.Fatalf("got frame %+v, %v, want kind %d", h, err, kind)
		}
		body := make([]byte, h.Size)
		if _, err := io.ReadFull(theirs, body); err != nil {
			t.Fatal(err)
		}
		return body
	}
	s, err := parseSetup(next(frameSetup))
	if err != nil || s.Control.Phase != session.Draining || s.banner != "hello\r\n" {
		t.Fatalf("got %+v, %v, want phase %d and the banner", s, err, session.Draining)
	}
	f.Bounds.Store(&session.Bounds{Bytes: 5})
	want := []control{
		{session.Draining, false, session.Bounds{Bytes: 5}},
		{session.Leaving, false, session.Bounds{Bytes: 5}},
		{session.Over, true, session.Bounds{Bytes: 5}},
	}
	for _, want := range want {
		f.Enter(want.Phase)
		f.Refresh()
		if got, err := parseControl(next(frameControl)); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if want.Phase > session.Draining {
			_ = next(frameControl) // that of Refresh
		}
	}
	if _, err := theirs.Write(ending(session.ByDrain, 0)); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// TestAHurriedSessionIsSo in its process too, which must not wait for its client when it leaves.
func TestAHurriedSessionIsSo(t *testing.T) {
	f := newFixture(NewPool(nil), conntest.New(), nil)
	f.Enter(session.Leaving)
	if got := controlOf(f.Session); got.Phase != session.Leaving || got.Hurried {
		t.Errorf("a leaving session: got %+v", got)
	}
	f.Hurry()
	got := controlOf(f.Session)
	if got.Phase != session.Leaving || !got.Hurried {
		t.Errorf("a hurried one: got %+v", got)
	}

	client := conntest.New()
	client.SetRoom(1)
	s := setupWith(framing.Line)
	s.banner = "hello\r\n" // more than the client takes, without a timeout
	k, recorder := serveTo(io.Discard, client, s)
	k.recorder = recorder
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = recorder.Serve() // how it ends does not matter
	}()
	k.apply(&got)
	<-over
}

// FuzzToDaemon holds that no process can make the daemon read beyond what it has sent, record what
// is no message, or say what only the daemon may.
func FuzzToDaemon(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	one := record.Message{Raw: []byte("hello\n"), EndLen: 1, Flag: "eof"}
	partly := checkpoint{checkpointHeader{Progress: progress{Offset: 6, Framing: 3}, Have: 0}, []byte("half")}
	f.Add(append(messages(one, one), ending(session.ByEOF, 12)...))
	f.Add(bytes.Join([][]byte{messages(one), partly.append(nil), ending(session.ByLeave, 6)}, nil))
	f.Add(messages(record.Message{Raw: []byte("5 hello"), HeadLen: 2, Flag: framing.Between.String()}))
	f.Add([]byte("\x04\x00\x00\x00\x07\x03\x00\x00\xff\xff\xff\xff"))
	f.Add([]byte("\x04\x00\x00\x00\x08\x00\x01\x01\x00\x00\x00\x01x"))
	f.Add(frameHeader{frameMessages, 1<<31 - 1}.append(nil))
	f.Add((&take{5}).append(nil))
	f.Fuzz(func(t *testing.T, frames []byte) {
		s, why, err := serveFrames(t, frames)
		switch {
		case !why.OfRecorder() && why != session.ByProcess:
			t.Errorf("got reason %q", why)
		case why == session.ByProcess && err == nil:
			t.Error("got no error of a process that has not ended its session")
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Error(err)
		}
		if got := int64(strings.Count(s.out.String(), "\n")); got > s.Records() {
			t.Errorf("got %d lines of %d records: %q", got, s.Records(), s.out.String())
		}
		if got := s.Env.Records.Load(); got != s.Records() {
			t.Errorf("got %d records written, want %d", got, s.Records())
		}
		if s.Offset() > int64(len(frames)) {
			t.Errorf("got offset %d after %d bytes", s.Offset(), len(frames))
		}
	})
}
