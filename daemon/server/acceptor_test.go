package server_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
)

func TestPassingErrorsOfAcceptDoNotEndTheLoop(t *testing.T) {
	for _, errno := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EPROTO, unix.EPERM,
		unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET, unix.ENOPROTOOPT, unix.ETIMEDOUT,
	} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			t.Parallel()
			var accept servertest.FailingAccept
			accept.Fail(errno)
			f := servertest.New(t, nil, servertest.Accept(accept.Accept))
			began := time.Now()
			f.Open()
			c := f.Client()
			servertest.Eventually(t, func() bool { return accept.Calls() >= 4 }, func() {
				t.Errorf("got %d tries, want them to go on", accept.Calls())
			})
			if calls, took := accept.Calls(), time.Since(began); calls > mostTries(took) {
				t.Errorf("got %d tries in %v, want at most %d", calls, took, mostTries(took))
			}
			accept.Recover()
			c.Hear("hello\r\n")
			f.Greeted()
			log := f.Log.Await(t, "accept works again")
			for _, line := range []string{"accept fails, new clients wait", "accept works again"} {
				if n := strings.Count(log, line); n != 1 {
					t.Errorf("log: got %q %d times, want once: %s", line, n, log)
				}
			}
			wantLine(t, f.Log, "accept fails", "level=WARN", "listener=tcpmux", "accept: "+errno.Error())
			wantLine(t, f.Log, "accept works again", "level=INFO", "listener=tcpmux", "failures=", "duration=")
		})
	}
}

// mostTries returns how many times a loop tries within a time: 0, 5, 15, 35, 75... ms after the
// first try. One that spins makes millions.
func mostTries(within time.Duration) int64 {
	most := int64(2)
	for pause, at := server.AcceptRetryMin, server.AcceptRetryMin; at <= within; at += pause {
		pause, most = min(2*pause, server.AcceptRetryMax), most+1
	}
	return most
}

// wantLine fails the test unless the first log line about something holds all texts.
func wantLine(t *testing.T, log *servertest.FakeFile, about string, texts ...string) {
	t.Helper()
	if l := log.Line(about); !servertest.HoldsAll(l, texts) {
		t.Errorf("log: got %q, want %q in it", l, texts)
	}
}

func TestEachRunOfAcceptFailuresIsLoggedAgain(t *testing.T) {
	var accept servertest.FailingAccept
	f := servertest.New(t, nil, servertest.Accept(accept.Accept)).Open()
	for run := 1; run <= 3; run++ {
		c := f.Greeted()
		accept.Fail(unix.EMFILE)
		calls := accept.Calls()
		second := f.Client() // wakes the loop
		servertest.Eventually(t, func() bool { return accept.Calls() > calls }, func() { t.Error("accept: got no try, want one") })
		accept.Recover()
		second.Hear("hello\r\n")
		servertest.Eventually(t, func() bool { return strings.Count(f.Log.String(), "accept works again") == run }, func() {
			t.Errorf("log: got %s, want accept to work again %d times", f.Log, run)
		})
		_ = c.Close()
	}
}

func TestShutdownDoesNotWaitForAPause(t *testing.T) {
	var accept servertest.FailingAccept
	accept.Fail(unix.EMFILE)
	f := servertest.New(t, nil, servertest.Accept(accept.Accept)).Open()
	f.Log.Await(t, "accept fails")
	f.Finish()
	if err := f.Ended(); !errors.Is(err, server.ErrServerClosed) {
		t.Errorf("Serve: got %v, want %v", err, server.ErrServerClosed)
	}
}

func TestABrokenListenerEndsServe(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EBADF, unix.EINVAL, unix.ENOTSOCK, unix.EOPNOTSUPP} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			var accept servertest.FailingAccept
			accept.Fail(errno)
			err := servertest.New(t, nil, servertest.Accept(accept.Accept)).Open().Ended()
			if !errors.Is(err, errno) || errors.Is(err, server.ErrServerClosed) || !strings.Contains(err.Error(), `listener "tcpmux" (127.0.0.1:`) {
				t.Errorf("got %v, want %v, and the listener's name", err, errno)
			}
		})
	}
	t.Run("closed", func(t *testing.T) {
		f := servertest.New(t, nil).Open()
		f.Greeted()
		_ = f.Binding().Listener.File.Close()
		if err := f.Ended(); err == nil || errors.Is(err, server.ErrServerClosed) {
			t.Errorf("got %v, want an error that says that the listener was closed", err)
		}
	})
}

func TestABrokenListenerHarmsNobodyWhoIsServed(t *testing.T) {
	var accept servertest.FailingAccept
	f := servertest.New(t, nil, servertest.Accept(accept.Accept)).Open()
	c := f.Greeted()
	accept.Fail(unix.EBADF)
	if conn, err := net.Dial("tcp", f.Addr().String()); err == nil { // it wakes the loop
		defer conn.Close()
	}
	if err := f.Ended(); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want %v", err, unix.EBADF)
	}
	c.Say("still here\n")
	f.AwaitRecords(c.Addr() + ": still here\n")
}

func TestTheSurplusWaitsInTheBacklog(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Limits.Clients = 1 }).Open()
	first := f.Greeted()
	second := f.Client()
	second.Say("early\n")
	for range 20 { // the first is served meanwhile, and the second not
		first.Say("ping\n")
		if n := f.Server.Clients(); n != 1 {
			t.Fatalf("clients: got %d, want 1", n)
		}
	}
	f.AwaitRecords(": ping\n")
	_ = second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); n != 0 || err == io.EOF {
		t.Errorf("the second client heard %d bytes and %v, want to wait", n, err)
	}
	_ = second.SetReadDeadline(time.Now().Add(servertest.Patience))
	_ = first.Close()
	second.Hear("hello\r\n")
	f.AwaitRecords(second.Addr() + ": early\n")
}

// TestAHundredInOneInstantAreGreeted would see the SYN sent again after a second where the backlog
// is too short. It is what the default configuration promises: a hundred processes under the race
// detector do not start in a second.
func TestAHundredInOneInstantAreGreeted(t *testing.T) {
	if servertest.Model() == "process" {
		t.Skip("not promised for processes")
	}
	const clients, bound, rounds = 100, 900 * time.Millisecond, 10
	var worst time.Duration
	for range rounds { // a busy machine may spoil some; a short backlog spoils all
		f := servertest.NewWithFile(t, nil).Open()
		if worst = storm(f, clients); worst < bound {
			return
		}
	}
	t.Errorf("the slowest of %d greetings took %v, want less than %v", clients, worst, bound)
}

// storm has clients connect at once and returns how long the slowest waited for its greeting.
func storm(f *servertest.Fixture, clients int) (slowest time.Duration) {
	start := make(chan struct{})
	var mu sync.Mutex
	var storming sync.WaitGroup
	for range clients {
		storming.Go(func() {
			<-start
			began := time.Now()
			f.Greeted()
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(began))
		})
	}
	close(start)
	storming.Wait()
	return slowest
}
