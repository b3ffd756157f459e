package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

// shutdown begins a Shutdown that ends with ctx, and returns once the server drains.
func (d *desk) shutdown(ctx context.Context) (ended chan error) {
	d.t.Helper()
	ended = make(chan error, 1)
	go func() { ended <- d.srv.Shutdown(ctx) }()
	eventually(d.t, d.srv.draining.Load, func() { d.t.Error("the server does not drain") })
	return ended
}

// result waits for a Shutdown's.
func result(t *testing.T, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("Shutdown goes on, want its end")
		return nil
	}
}

func TestHowSessionsEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		said string
		end  func(*client)
		want []string // records
		log  string
	}{
		{"end of the stream", "one\nhalf", func(c *client) { _ = c.CloseWrite() },
			[]string{": one\n", " [eof]: half\n", ": eof, 2 records, 8 bytes\n"}, "reason=eof records=2 bytes=8 "},
		{"nothing said", "", func(c *client) { _ = c.Close() }, []string{": eof, 0 records, 0 bytes\n"}, "reason=eof records=0 bytes=0 "},
		{"reset", "one\nhalf", func(c *client) { _ = c.SetLinger(0); _ = c.Close() },
			[]string{": one\n", " [eof]: half\n", ": reset, 2 records, 8 bytes\n"}, "reason=reset records=2 bytes=8 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, nil).open()
			conn := d.greeted()
			conn.say(c.said)
			c.end(conn)
			d.records(c.want...)
			d.log.await(t, c.log)
			l := d.log.line("session closed")
			if !holdsAll(l, []string{"level=DEBUG", "listener=tcpmux", "remote=" + conn.addr(), " session=", " duration="}) {
				t.Errorf("log: got %q, want level, listener, remote, session and duration", l)
			}
		})
	}
}

// TestAResetBeforeTheGreetingLosesNothing: who waits in the backlog may have said all and gone before we greet.
func TestAResetBeforeTheGreetingLosesNothing(t *testing.T) {
	d := newDesk(t, nil)
	conn := d.client() // the socket listens already, nobody accepts
	conn.say("one\nhalf")
	_ = conn.SetLinger(0)
	_ = conn.Close()
	d.open()
	d.records(" open from "+conn.addr(), ": one\n", " [eof]: half\n", ": reset, 2 records, 8 bytes\n")
}

func TestFinishingInTimeIsNoError(t *testing.T) {
	d := newDesk(t, nil).open()
	var clients []*client
	for range 5 {
		clients = append(clients, d.greeted())
	}
	ended := d.shutdown(t.Context())
	for i, c := range clients {
		if rest := c.hearEnd(); rest != "" { // it learns that it should finish
			t.Errorf("heard %q, want the end", rest)
		}
		c.say(fmt.Sprintf("last word of %d\n", i))
		_ = c.Close()
		d.records(fmt.Sprintf("%s: last word of %d\n", c.addr(), i), c.addr()+": eof, 1 records")
	}
	if err := result(t, ended); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := d.ends(); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
	}
}

func TestWhoDoesNotFinishInTimeIsClosedAndCounted(t *testing.T) {
	d := newDesk(t, nil).open()
	conn := d.greeted()
	conn.say("whole\nhal")
	d.greeted()
	d.records(": whole\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := d.srv.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "2 clients did not finish in time") {
		t.Errorf("got %v, want it to count 2 clients", err)
	}
	if rest := conn.hearEnd(); rest != "" {
		t.Errorf("heard %q, want the end", rest)
	}
	d.records(conn.addr()+" [timeout]: hal\n", ": drain, 2 records, 9 bytes\n", ": drain, 0 records, 0 bytes\n")
	if n := strings.Count(d.log.String(), "reason=drain "); n != 2 {
		t.Errorf("log: got %d sessions that ended by the drain, want 2: %s", n, d.log)
	}
}

// TestWithoutAnyTimeWhatHasArrivedIsRecorded is drain_timeout = "0s".
func TestWithoutAnyTimeWhatHasArrivedIsRecorded(t *testing.T) {
	d := newDesk(t, nil).open()
	conn := d.greeted()
	d.records(" open from ")
	resume := d.out.hang()
	defer resume()
	writes := d.out.begun()
	conn.say("one\n")
	eventually(t, func() bool { return d.out.begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	conn.say("two\r\nthree\nhalf") // the session is busy: this waits in the kernel
	ended := d.shutdown(over())
	eventually(t, d.srv.expired.Load, func() { t.Error("the time is not over") })
	resume()
	if err := result(t, ended); err == nil {
		t.Error("got nil, want an error that counts the client")
	}
	d.records(": one\n", ": two\n", ": three\n", " [timeout]: half\n", ": drain, 4 records, 19 bytes\n")
}

func TestManyShutdownsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		ctx   context.Context
		stays bool
	}{
		{"nobody there", t.Context(), false},
		{"somebody who stays", over(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, nil).open()
			if c.stays {
				d.greeted()
			}
			var ending sync.WaitGroup
			for range 20 {
				ending.Go(func() {
					if err := d.srv.Shutdown(c.ctx); (err != nil) != c.stays {
						t.Errorf("got %v, want an error: %v", err, c.stays)
					}
				})
			}
			ending.Wait()
			if err := d.ends(); !errors.Is(err, ErrServerClosed) {
				t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
			}
		})
	}
}

func TestServeAfterShutdownIsOver(t *testing.T) {
	d := newDesk(t, nil)
	d.finish()
	if err := d.srv.Serve(d.ln); !errors.Is(err, ErrServerClosed) {
		t.Errorf("got %v, want %v", err, ErrServerClosed)
	}
}

// TestClientsComeWhileTheServerEnds looks for the one that slips between: each is either served to its end or turned away.
func TestClientsComeWhileTheServerEnds(t *testing.T) {
	rounds := 20
	if os.Getenv(modelVariable) == "process" {
		rounds = 2 // a process under the race detector takes long to start
	}
	for range rounds {
		d := newDesk(t, nil).open()
		var coming sync.WaitGroup
		for range 8 {
			coming.Go(func() {
				if conn, err := net.Dial("tcp", d.ln.addr.String()); err == nil {
					_ = conn.Close()
				}
			})
		}
		_ = d.srv.Shutdown(over())
		if n := d.srv.Clients(); n != 0 {
			t.Errorf("clients after Shutdown: got %d, want 0", n)
		}
		coming.Wait()
		text := d.out.String()
		if open, closed := strings.Count(text, " open from "), strings.Count(text, " close from "); open != closed {
			t.Errorf("got %d opened and %d closed, want as many: %s", open, closed, text)
		}
	}
}

// hooked is an accept that does nothing until it is released.
type hooked struct {
	held    chan struct{} // closed by the first call
	release chan struct{}
	once    sync.Once
}

func newHooked() *hooked { return &hooked{held: make(chan struct{}), release: make(chan struct{})} }

func (h *hooked) accept(fd int) (int, syscall.Sockaddr, error) {
	first := false
	h.once.Do(func() { first = true })
	if first {
		close(h.held)
		<-h.release
		return -1, nil, unix.EAGAIN
	}
	return accept4(fd)
}

// TestTheBacklogOfASocketOfOurOwnIsTakenIn: they have connected in good faith, and the socket ends with us.
func TestTheBacklogOfASocketOfOurOwnIsTakenIn(t *testing.T) {
	h := newHooked()
	d := newDesk(t, nil)
	d.accept = h.accept
	d.open()
	<-h.held
	var clients []*client
	for i := range 3 {
		c := d.client()
		c.say(fmt.Sprintf("from the backlog %d\n", i))
		_ = c.CloseWrite()
		clients = append(clients, c)
	}
	ended := d.shutdown(t.Context())
	close(h.release)
	if err := result(t, ended); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for i, c := range clients {
		d.records(fmt.Sprintf("%s: from the backlog %d\n", c.addr(), i))
		if got := c.hearEnd(); got != "hello\r\n" {
			t.Errorf("heard %q, want the greeting", got)
		}
	}
}

// TestTheBacklogOfAnInheritedSocketIsLeft to the next process, which holds the same socket.
func TestTheBacklogOfAnInheritedSocketIsLeft(t *testing.T) {
	h := newHooked()
	d := newDesk(t, nil)
	d.accept, d.ln.inherited = h.accept, true
	next := heir(t, d)
	d.open()
	<-h.held
	c := d.client()
	c.say("for the next\n")
	ended := d.shutdown(t.Context())
	close(h.release)
	if err := result(t, ended); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := d.ends(); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
	}
	if got := d.out.String(); got != "" {
		t.Errorf("the first recorded %q, want nothing", got)
	}
	next.open()
	c.hear("hello\r\n")
	next.records(c.addr() + ": for the next\n")
}

// heir is a desk at a duplicate of d's socket.
func heir(t *testing.T, d *desk) *desk {
	t.Helper()
	next := newDesk(t, nil)
	_ = next.ln.file.Close()
	err := d.ln.control(func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		next.ln.file = os.NewFile(uintptr(dup), "heir")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	next.ln.addr, next.ln.inherited = d.ln.addr, true
	return next
}

// TestASinkThatFailsToTheEndIsGivenUp: what it did not take is counted and told as an error.
func TestASinkThatFailsToTheEndIsGivenUp(t *testing.T) {
	t.Parallel() // it takes sinkGrace
	d := newDesk(t, nil).open()
	conn := d.greeted()
	conn.say("kept\n")
	d.records(": kept\n")
	d.out.fail(errDisk)
	conn.say("lost\nlost too\n")
	eventually(t, d.sink.Failing, func() { t.Error("the sink does not fail") })
	log := slog.New(slog.NewTextHandler(d.log, nil))
	began := time.Now()
	(&daemon{cfg: config.Config{DrainTimeout: 10 * time.Millisecond}, log: &logger{Logger: log}, sink: d.sink, srv: d.srv}).end(false)
	if took := time.Since(began); took < sinkGrace {
		t.Errorf("gave up after %v, want no sooner than %v", took, sinkGrace)
	}
	d.log.await(t, "reason=sink")
	if l := d.log.line("session closed"); !holdsAll(l, []string{"level=ERROR", "reason=sink records=1 bytes=", "lost=2", record.ErrSinkClosed.Error()}) {
		t.Errorf("log: got %q, want an error, the reason sink, and 2 lost", l)
	}
	if got := d.srv.Records(); got != 1 {
		t.Errorf("records: got %d, want 1", got)
	}
	if l := d.log.line("msg=drained"); !holdsAll(l, []string{"level=WARN", "1 client did not finish in time", "records=1"}) {
		t.Errorf("log: got %q, want the drain's result", l)
	}
}

// TestShutdownLetsBannersOut holds that a client which was accepted is greeted, however close to the end it came.
func TestShutdownLetsBannersOut(t *testing.T) {
	rounds := 20
	if os.Getenv(modelVariable) == "process" {
		rounds = 2 // a process under the race detector takes long to start
	}
	for range rounds {
		d := newDesk(t, nil).open()
		var met atomic.Int64
		var visits sync.WaitGroup
		for range 50 {
			visits.Go(func() {
				c, err := net.Dial("tcp", d.ln.addr.String())
				if err != nil {
					return // it came too late
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				b, err := io.ReadAll(c)
				if err == nil && len(b) == 0 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %q and %v, want to be greeted and told of the end", b, err)
				}
				met.Add(1)
			})
		}
		eventually(t, func() bool { return met.Load() > 0 || d.srv.Clients() > 5 }, func() { t.Error("nobody came") })
		d.finish() // the clients read to the end, and so finish
		visits.Wait()
		if t.Failed() {
			return
		}
	}
}

// A ping that comes in the same instant must not swallow the end: whoever is woken for both looks at both.
func TestShutdownEndsALoopThatIsAlsoPinged(t *testing.T) {
	for range 64 {
		d := newDesk(t, nil)
		a, err := newAcceptor(d.srv, d.ln)
		if err != nil || !d.srv.begin(a) {
			t.Fatalf("no accept loop: %v", err)
		}
		answer := make(chan struct{})
		a.asked <- answer
		close(a.quit) // and the wake-up of both has been used up
		ended := make(chan error, 1)
		go func() { ended <- a.run() }()
		<-answer
		select {
		case err := <-ended:
			if !errors.Is(err, ErrServerClosed) {
				t.Fatalf("run: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("the loop accepts for ever")
		}
		_ = d.ln.file.Close()
		d.sink.Close()
	}
}
