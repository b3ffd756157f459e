package daemon

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// acceptFunc stands for accept4(2).
type acceptFunc = func(fd int) (int, syscall.Sockaddr, error)

// failing is an accept that fails as long as fault is set, and counts its calls.
type failing struct {
	fault atomic.Pointer[unix.Errno]
	calls atomic.Int64
}

func (f *failing) accept(fd int) (int, syscall.Sockaddr, error) {
	f.calls.Add(1)
	if err := f.fault.Load(); err != nil {
		return -1, nil, *err
	}
	return accept4(fd)
}

func TestPassingErrorsOfAcceptDoNotEndTheLoop(t *testing.T) {
	for _, errno := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EPROTO, unix.EPERM,
		unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET, unix.ENOPROTOOPT, unix.ETIMEDOUT,
	} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			t.Parallel()
			var f failing
			f.fault.Store(&errno)
			d := newDesk(t, nil)
			d.accept = f.accept
			began := time.Now()
			d.open()
			c := d.client()
			eventually(t, func() bool { return f.calls.Load() >= 4 }, func() { t.Errorf("got %d tries, want them to go on", f.calls.Load()) })
			// Tries come 0, 5, 15, 35, 75... ms after the first: a loop that spins makes millions.
			calls, took := f.calls.Load(), time.Since(began)
			if most := int64(2); calls > most {
				for pause, at := acceptRetryMin, acceptRetryMin; at <= took; at += pause {
					pause, most = min(2*pause, acceptRetryMax), most+1
				}
				if calls > most {
					t.Errorf("got %d tries in %v, want %d at most", calls, took, most)
				}
			}
			f.fault.Store(nil)
			c.hear("hello\r\n")
			d.greeted()
			log := d.log.await(t, "accept works again")
			for _, told := range []string{"accept fails, new clients wait", "accept works again"} {
				if n := strings.Count(log, told); n != 1 {
					t.Errorf("log: got %q %d times, want once: %s", told, n, log)
				}
			}
			if l := d.log.line("accept fails"); !holdsAll(l, []string{"level=WARN", "listener=tcpmux", "accept: " + errno.Error()}) {
				t.Errorf("log: got %q, want the listener and the error", l)
			}
			if l := d.log.line("accept works again"); !holdsAll(l, []string{"level=INFO", "listener=tcpmux", "failures=", "duration="}) {
				t.Errorf("log: got %q, want the listener, how often and how long", l)
			}
		})
	}
}

func TestEachRunOfAcceptFailuresIsToldAgain(t *testing.T) {
	var f failing
	d := newDesk(t, nil)
	d.accept = f.accept
	d.open()
	errno := unix.EMFILE
	for run := 1; run <= 3; run++ {
		c := d.greeted()
		f.fault.Store(&errno)
		calls := f.calls.Load()
		second := d.client() // wakes the loop
		eventually(t, func() bool { return f.calls.Load() > calls }, func() { t.Error("accept: got no try, want one") })
		f.fault.Store(nil)
		second.hear("hello\r\n")
		eventually(t, func() bool { return strings.Count(d.log.String(), "accept works again") == run }, func() {
			t.Errorf("log: got %s, want accept to work again %d times", d.log, run)
		})
		_ = c.Close()
	}
}

func TestShutdownDoesNotWaitForAPause(t *testing.T) {
	var f failing
	errno := unix.EMFILE
	f.fault.Store(&errno)
	d := newDesk(t, nil)
	d.accept = f.accept
	d.open()
	d.log.await(t, "accept fails")
	d.finish()
	if err := d.ends(); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: got %v, want %v", err, ErrServerClosed)
	}
}

func TestABrokenListenerEndsServe(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EBADF, unix.EINVAL, unix.ENOTSOCK, unix.EOPNOTSUPP} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			var f failing
			f.fault.Store(&errno)
			d := newDesk(t, nil)
			d.accept = f.accept
			err := d.open().ends()
			if !errors.Is(err, errno) || errors.Is(err, ErrServerClosed) || !strings.Contains(err.Error(), `listener "tcpmux" (127.0.0.1:`) {
				t.Errorf("got %v, want %v, and the listener's name", err, errno)
			}
		})
	}
	t.Run("closed", func(t *testing.T) {
		d := newDesk(t, nil).open()
		d.greeted()
		_ = d.ln.file.Close()
		if err := d.ends(); err == nil || errors.Is(err, ErrServerClosed) {
			t.Errorf("got %v, want an error that says the listener was closed", err)
		}
	})
}

func TestABrokenListenerHarmsNobodyWhoIsServed(t *testing.T) {
	var f failing
	d := newDesk(t, nil)
	d.accept = f.accept
	d.open()
	c := d.greeted()
	errno := unix.EBADF
	f.fault.Store(&errno)
	if conn, err := net.Dial("tcp", d.ln.addr.String()); err == nil { // it wakes the loop, which may be faster with a reset
		defer conn.Close()
	}
	if err := d.ends(); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want %v", err, unix.EBADF)
	}
	c.say("still here\n")
	d.records(c.addr() + ": still here\n")
}

func TestTheSurplusWaitsInTheBacklog(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) { cfg.Limits.Clients = 1 }).open()
	first := d.greeted()
	second := d.client()
	second.say("early\n")
	for range 20 { // the first is served meanwhile, and the second not
		first.say("ping\n")
		if n := d.srv.Clients(); n != 1 {
			t.Fatalf("clients: got %d, want 1", n)
		}
	}
	d.records(": ping\n")
	_ = second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); n != 0 || err == io.EOF {
		t.Errorf("the second client heard %d bytes and %v, want to wait", n, err)
	}
	_ = second.SetReadDeadline(time.Now().Add(patience))
	_ = first.Close()
	second.hear("hello\r\n")
	d.records(second.addr() + ": early\n")
}

// TestAHundredInOneInstantAreGreeted would see the SYN sent again after a second where the backlog is too short.
func TestAHundredInOneInstantAreGreeted(t *testing.T) {
	const clients, bound, rounds = 100, 900 * time.Millisecond, 3
	var worst time.Duration
	for range rounds { // a stall of the machine may spoil one; a short backlog spoils all
		d := deskWithFile(t, nil).open()
		if worst = storm(d, clients); worst < bound {
			return
		}
	}
	t.Errorf("the slowest of %d greetings took %v, want less than %v", clients, worst, bound)
}

// storm has clients connect at once and returns how long the slowest waited for its greeting.
func storm(d *desk, clients int) (slowest time.Duration) {
	start := make(chan struct{})
	var mu sync.Mutex
	var storming sync.WaitGroup
	for range clients {
		storming.Go(func() {
			<-start
			began := time.Now()
			d.greeted()
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(began))
		})
	}
	close(start)
	storming.Wait()
	return slowest
}
