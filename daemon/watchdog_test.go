package daemon

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// watched is a server whose watchdog is fed, and what the service manager hears.
type watched struct {
	*servertest.Fixture
	manager *net.UnixConn
}

// watch feeds the watchdog of a server. The watchdog waits for 60 ms.
func watch(t *testing.T, f *servertest.Fixture) *watched {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "60000")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d := &daemon{srv: f.Server, records: &recordFiles{main: &recordFile{sink: f.Sink}}}
		(&notifier{log: f.Logger}).feedWatchdog(ctx, d.alive())
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return &watched{f, manager}
}

// fed returns how often the watchdog is fed within the time.
func (w *watched) fed(within time.Duration) (n int) {
	w.T.Helper()
	buf := make([]byte, 4096)
	for _ = w.manager.SetReadDeadline(time.Now().Add(within)); ; {
		size, err := w.manager.Read(buf)
		if err != nil {
			return n
		}
		n += strings.Count(string(buf[:size]), "WATCHDOG=1")
	}
}

// awaitFed waits until the watchdog has been fed that many times.
func (w *watched) awaitFed(times int) {
	w.T.Helper()
	buf := make([]byte, 4096)
	for _ = w.manager.SetReadDeadline(time.Now().Add(servertest.Patience)); times > 0; times-- {
		if _, err := w.manager.Read(buf); err != nil {
			w.T.Fatalf("the watchdog starves: %v", err)
		}
	}
}

// starves holds that nothing comes any more. What was proved just before may still be on its way.
func (w *watched) starves() {
	w.T.Helper()
	if n := w.fed(300 * time.Millisecond); n > 1 {
		w.T.Errorf("the watchdog was fed %d times, want it to starve", n)
	}
}

func TestTheWatchdogIsFedWhileNothingHappens(t *testing.T) {
	watch(t, servertest.New(t, nil).Open()).awaitFed(5)
}

func TestTheWatchdogIsFedUnderLoad(t *testing.T) {
	f := servertest.New(t, nil).Open()
	stop := make(chan struct{})
	defer close(stop)
	for range 4 {
		c := f.Greeted()
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.Write([]byte("x\n")); err != nil {
					return
				}
			}
		}()
	}
	watch(t, f).awaitFed(5)
}

func TestTheWatchdogIsFedWhileTheSinkFails(t *testing.T) {
	f := servertest.New(t, nil).Open()
	f.Greeted().Say("x\n")
	f.Out.Fail(servertest.ErrDisk)
	servertest.Eventually(t, func() bool {
		f.Greeted()
		return f.Sink.Failing()
	}, func() { t.Error("the sink does not fail") })
	watch(t, f).awaitFed(5)
	f.Out.Fail(nil)
}

func TestTheWatchdogIsFedWhileThereIsNoPlace(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Limits.Clients = 1 })
	f.Open().Greeted()
	watch(t, f).awaitFed(5)
}

func TestTheWatchdogIsFedWhileAcceptFails(t *testing.T) {
	var a servertest.FailingAccept
	a.Fail(unix.EMFILE)
	watch(t, servertest.New(t, nil, servertest.Accept(a.Accept)).Open()).awaitFed(5)
}

func TestAWedgedSinkStarvesTheWatchdog(t *testing.T) {
	f := servertest.New(t, nil).Open()
	w := watch(t, f)
	w.awaitFed(1)
	resume := f.Out.Hang()
	defer resume()
	writes := f.Out.Begun()
	f.Greeted()
	servertest.Eventually(t, func() bool { return f.Out.Begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	w.starves()
	resume()
	w.awaitFed(3)
}

// TestAWedgedSinkIsNoWedgedAnswer: who asks whether the daemon is alive learns that it is not.
func TestAWedgedSinkIsNoWedgedAnswer(t *testing.T) {
	f := servertest.New(t, nil).Open()
	defer f.Out.Hang()()
	writes := f.Out.Begun()
	f.Greeted()
	servertest.Eventually(t, func() bool { return f.Out.Begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	d := &daemon{srv: f.Server, records: &recordFiles{main: &recordFile{sink: f.Sink}}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.alive()(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestAWedgedAcceptLoopStarvesTheWatchdog(t *testing.T) {
	a := servertest.NewHangingAccept()
	w := watch(t, servertest.New(t, nil, servertest.Accept(a.Accept)).Open())
	<-a.Hangs
	w.starves()
	a.Release()
	w.awaitFed(3)
}

// TestTheWatchdogMayOutlastTheDaemon: nobody waits for it.
func TestTheWatchdogMayOutlastTheDaemon(t *testing.T) {
	f := servertest.New(t, nil).Open()
	d := &daemon{srv: f.Server, records: &recordFiles{main: &recordFile{sink: f.Sink}}}
	alive := d.alive()
	d.records = nil // as close leaves it
	if err := alive(t.Context()); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
