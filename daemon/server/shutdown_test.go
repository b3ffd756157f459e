package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/sink"
)

func TestHowSessionsEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		said string
		end  func(*servertest.Client)
		want []string // records
		log  string
	}{
		{"end of the stream", "one\nhalf", func(c *servertest.Client) { _ = c.CloseWrite() },
			[]string{": one\n", " [eof]: half\n", ": eof, 2 records, 8 bytes\n"}, "reason=eof records=2 bytes=8 "},
		{"nothing said", "", func(c *servertest.Client) { _ = c.Close() }, []string{": eof, 0 records, 0 bytes\n"}, "reason=eof records=0 bytes=0 "},
		{"reset", "one\nhalf", func(c *servertest.Client) { _ = c.SetLinger(0); _ = c.Close() },
			[]string{": one\n", " [eof]: half\n", ": reset, 2 records, 8 bytes\n"}, "reason=reset records=2 bytes=8 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, nil).Open()
			conn := f.Greeted()
			conn.Say(c.said)
			c.end(conn)
			f.AwaitRecords(c.want...)
			f.Log.Await(t, c.log)
			l := f.Log.Line("session closed")
			if !servertest.HoldsAll(l, []string{"level=DEBUG", "listener=tcpmux", "remote=" + conn.Addr(), " session=", " duration="}) {
				t.Errorf("log: got %q, want level, listener, remote, session and duration", l)
			}
		})
	}
}

// TestAResetBeforeTheGreetingLosesNothing: a client in the backlog may have said all and gone
// before it is greeted.
func TestAResetBeforeTheGreetingLosesNothing(t *testing.T) {
	f := servertest.New(t, nil)
	conn := f.Client() // the socket listens already, nobody accepts
	conn.Say("one\nhalf")
	_ = conn.SetLinger(0)
	_ = conn.Close()
	f.Open()
	f.AwaitRecords(" open from "+conn.Addr(), ": one\n", " [eof]: half\n", ": reset, 2 records, 8 bytes\n")
}

func TestFinishingInTimeIsNoError(t *testing.T) {
	f := servertest.New(t, nil).Open()
	var clients []*servertest.Client
	for range 5 {
		clients = append(clients, f.Greeted())
	}
	ended := f.Shutdown(t.Context())
	for i, c := range clients {
		if rest := c.HearEnd(); rest != "" { // it learns that it should finish
			t.Errorf("heard %q, want the end", rest)
		}
		c.Say(fmt.Sprintf("last word of %d\n", i))
		_ = c.Close()
		f.AwaitRecords(fmt.Sprintf("%s: last word of %d\n", c.Addr(), i), c.Addr()+": eof, 1 records")
	}
	if err := servertest.Result(t, ended); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := f.Ended(); !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("Serve: got %v, want %v", err, server.ErrServerClosed)
	}
}

func TestWhoDoesNotFinishInTimeIsClosedAndCounted(t *testing.T) {
	f := servertest.New(t, nil).Open()
	conn := f.Greeted()
	conn.Say("whole\nhal")
	f.Greeted()
	f.AwaitRecords(": whole\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Server.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "2 clients did not finish in time") {
		t.Errorf("got %v, want it to count 2 clients", err)
	}
	if rest := conn.HearEnd(); rest != "" {
		t.Errorf("heard %q, want the end", rest)
	}
	f.AwaitRecords(conn.Addr()+" [timeout]: hal\n", ": drain, 2 records, 9 bytes\n", ": drain, 0 records, 0 bytes\n")
	if n := strings.Count(f.Log.String(), "reason=drain "); n != 2 {
		t.Errorf("log: got %d sessions that ended by the drain, want 2: %s", n, f.Log)
	}
}

// TestWithoutAnyTimeWhatHasArrivedIsRecorded is drain_timeout = "0s".
func TestWithoutAnyTimeWhatHasArrivedIsRecorded(t *testing.T) {
	f := servertest.New(t, nil).Open()
	conn := f.Greeted()
	f.AwaitRecords(" open from ")
	resume := f.Out.Hang()
	defer resume()
	writes := f.Out.Begun()
	conn.Say("one\n")
	servertest.Eventually(t, func() bool { return f.Out.Begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	conn.Say("two\r\nthree\nhalf") // the session is busy: this waits in the kernel
	ended := f.Shutdown(servertest.Done())
	servertest.Eventually(t, f.Server.Over, func() { t.Error("the time is not over") })
	resume()
	if err := servertest.Result(t, ended); err == nil {
		t.Error("got nil, want an error that counts the client")
	}
	f.AwaitRecords(": one\n", ": two\n", ": three\n", " [timeout]: half\n", ": drain, 4 records, 19 bytes\n")
}

func TestManyShutdownsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		ctx   context.Context
		stays bool
	}{
		{"nobody there", t.Context(), false},
		{"somebody who stays", servertest.Done(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, nil).Open()
			if c.stays {
				f.Greeted()
			}
			var ending sync.WaitGroup
			for range 20 {
				ending.Go(func() {
					if err := f.Server.Shutdown(c.ctx); (err != nil) != c.stays {
						t.Errorf("got %v, want an error: %v", err, c.stays)
					}
				})
			}
			ending.Wait()
			if err := f.Ended(); !errors.Is(err, server.ErrServerClosed) {
				t.Errorf("Serve: got %v, want %v", err, server.ErrServerClosed)
			}
		})
	}
}

func TestServeAfterShutdownIsOver(t *testing.T) {
	f := servertest.New(t, nil)
	f.Finish()
	if err := f.Server.Serve(f.Binding()); !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("got %v, want %v", err, server.ErrServerClosed)
	}
}

// TestClientsComeWhileTheServerEnds looks for the one that slips between: each is either served to
// its end or turned away.
func TestClientsComeWhileTheServerEnds(t *testing.T) {
	rounds := 20
	if servertest.Model() == "process" {
		rounds = 2 // a process under the race detector takes long to start
	}
	for range rounds {
		f := servertest.New(t, nil).Open()
		var coming sync.WaitGroup
		for range 8 {
			coming.Go(func() {
				if conn, err := net.Dial("tcp", f.Addr().String()); err == nil {
					_ = conn.Close()
				}
			})
		}
		_ = f.Server.Shutdown(servertest.Done())
		if n := f.Server.Clients(); n != 0 {
			t.Errorf("clients after Shutdown: got %d, want 0", n)
		}
		coming.Wait()
		text := f.Out.String()
		if open, closed := strings.Count(text, " open from "), strings.Count(text, " close from "); open != closed {
			t.Errorf("got %d opened and %d closed, want as many: %s", open, closed, text)
		}
	}
}

// TestTheBacklogOfASocketOfOurOwnIsTakenIn: its clients have connected in good faith, and the
// socket ends with the process.
func TestTheBacklogOfASocketOfOurOwnIsTakenIn(t *testing.T) {
	accept := servertest.NewHangingAccept()
	f := servertest.New(t, nil, servertest.Accept(accept.Accept)).Open()
	<-accept.Hangs
	var clients []*servertest.Client
	for i := range 3 {
		c := f.Client()
		c.Say(fmt.Sprintf("from the backlog %d\n", i))
		_ = c.CloseWrite()
		clients = append(clients, c)
	}
	ended := f.Shutdown(t.Context())
	accept.Release()
	if err := servertest.Result(t, ended); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for i, c := range clients {
		f.AwaitRecords(fmt.Sprintf("%s: from the backlog %d\n", c.Addr(), i))
		if got := c.HearEnd(); got != "hello\r\n" {
			t.Errorf("heard %q, want the greeting", got)
		}
	}
}

// TestTheBacklogOfAnInheritedSocketIsLeft to the next process, which holds the same socket.
func TestTheBacklogOfAnInheritedSocketIsLeft(t *testing.T) {
	accept := servertest.NewHangingAccept()
	f := servertest.New(t, nil, servertest.Accept(accept.Accept))
	f.Binding().Listener.Inherited = true
	next := atSameSocket(t, f)
	f.Open()
	<-accept.Hangs
	c := f.Client()
	c.Say("for the next\n")
	ended := f.Shutdown(t.Context())
	accept.Release()
	if err := servertest.Result(t, ended); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := f.Ended(); !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("Serve: got %v, want %v", err, server.ErrServerClosed)
	}
	if got := f.Out.String(); got != "" {
		t.Errorf("the first recorded %q, want nothing", got)
	}
	next.Open()
	c.Hear("hello\r\n")
	next.AwaitRecords(c.Addr() + ": for the next\n")
}

// atSameSocket is a fixture at a duplicate of the socket of f.
func atSameSocket(t *testing.T, f *servertest.Fixture) *servertest.Fixture {
	t.Helper()
	next := servertest.New(t, nil)
	to, from := next.Binding().Listener, f.Binding().Listener
	_ = to.File.Close()
	raw, err := from.File.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	dup := -1
	_ = raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	to.File, to.Addr, to.Inherited = os.NewFile(uintptr(dup), "duplicate"), from.Addr, true
	return next
}

// TestASinkThatIsClosedEndsItsSessions: what it did not take is counted and logged as an error.
func TestASinkThatIsClosedEndsItsSessions(t *testing.T) {
	f := servertest.New(t, nil).Open()
	c := f.Greeted()
	c.Say("kept\n")
	f.AwaitRecords(": kept\n")
	f.Out.Fail(servertest.ErrDisk)
	c.Say("lost\nlost too\n")
	servertest.Eventually(t, f.Sink.Failing, func() { t.Error("the sink does not fail") })
	ended := f.Shutdown(servertest.Done())
	servertest.Eventually(t, f.Server.Over, func() { t.Error("the time is not over") })
	if n := f.Server.Clients(); n != 1 {
		t.Errorf("clients: got %d, want the one that waits for the sink", n)
	}
	f.Sink.Close()
	if err := servertest.Result(t, ended); err == nil || !strings.Contains(err.Error(), "1 client did not finish in time") {
		t.Errorf("got %v, want it to count 1 client", err)
	}
	wantLine(t, f.Log, "session closed", "level=ERROR", "reason=sink records=1 bytes=", "lost=2", sink.ErrClosed.Error())
	if got := f.Server.Records(); got != 1 {
		t.Errorf("records: got %d, want 1", got)
	}
}

// TestShutdownLetsBannersOut holds that a client which was accepted is greeted, however close to
// the end it came.
func TestShutdownLetsBannersOut(t *testing.T) {
	rounds := 20
	if servertest.Model() == "process" {
		rounds = 2 // a process under the race detector takes long to start
	}
	for range rounds {
		f := servertest.New(t, nil).Open()
		var met atomic.Int64
		var visits sync.WaitGroup
		for range 50 {
			visits.Go(func() {
				c, err := net.Dial("tcp", f.Addr().String())
				if err != nil {
					return // it came too late
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(servertest.Patience))
				b, err := io.ReadAll(c)
				if err == nil && len(b) == 0 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %q and %v, want to be greeted and told of the end", b, err)
				}
				met.Add(1)
			})
		}
		servertest.Eventually(t, func() bool { return met.Load() > 0 || f.Server.Clients() > 5 }, func() { t.Error("nobody came") })
		f.Finish() // the clients read to the end, and so finish
		visits.Wait()
		if t.Failed() {
			return
		}
	}
}

// TestShutdownEndsALoopThatIsAlsoPinged: a ping that comes in the same instant does not swallow the
// end.
func TestShutdownEndsALoopThatIsAlsoPinged(t *testing.T) {
	for range 64 {
		f := servertest.New(t, nil)
		answered, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- f.Server.ServePinged(f.Binding(), answered) }()
		<-answered
		if err := servertest.Result(t, ended); !errors.Is(err, server.ErrServerClosed) {
			t.Fatalf("got %v, want %v", err, server.ErrServerClosed)
		}
		_ = f.Binding().Listener.Close()
		f.Sink.Close()
	}
}
