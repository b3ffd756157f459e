package daemon

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watched is a desk whose watchdog is fed, and what the service manager hears.
type watched struct {
	*desk
	manager *net.UnixConn
}

// watch feeds the watchdog of d, which barks after 60 ms.
func watch(t *testing.T, d *desk) *watched {
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
	fed := make(chan struct{})
	log := slog.New(slog.NewTextHandler(d.log, nil))
	go func() {
		defer close(fed)
		(&daemon{log: &logger{Logger: log}, sink: d.sink, srv: d.srv}).feedWatchdog(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-fed
	})
	return &watched{d, manager}
}

// fed counts how often the watchdog is fed within the time.
func (w *watched) fed(within time.Duration) (n int) {
	w.t.Helper()
	buf := make([]byte, 4096)
	for _ = w.manager.SetReadDeadline(time.Now().Add(within)); ; {
		size, err := w.manager.Read(buf)
		if err != nil {
			return n
		}
		n += strings.Count(string(buf[:size]), "WATCHDOG=1")
	}
}

// awaitFed waits until the watchdog has been fed so often.
func (w *watched) awaitFed(times int) {
	w.t.Helper()
	buf := make([]byte, 4096)
	for _ = w.manager.SetReadDeadline(time.Now().Add(patience)); times > 0; times-- {
		if _, err := w.manager.Read(buf); err != nil {
			w.t.Fatalf("the watchdog starves: %v", err)
		}
	}
}

// starves holds that nothing comes any more; what was proved just before may still be on its way.
func (w *watched) starves() {
	w.t.Helper()
	if n := w.fed(300 * time.Millisecond); n > 1 {
		w.t.Errorf("the watchdog was fed %d times, want it to starve", n)
	}
}

func TestTheWatchdogIsFedWhileNothingHappens(t *testing.T) {
	watch(t, newDesk(t, nil).open()).awaitFed(5)
}

func TestTheWatchdogIsFedUnderLoad(t *testing.T) {
	d := newDesk(t, nil).open()
	stop := make(chan struct{})
	defer close(stop)
	for range 4 {
		c := d.greeted()
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
	watch(t, d).awaitFed(5)
}

func TestTheWatchdogIsFedWhileTheSinkFails(t *testing.T) {
	d := newDesk(t, nil).open()
	d.greeted().say("x\n")
	d.out.fail(errDisk)
	eventually(t, func() bool {
		d.greeted()
		return d.sink.Failing()
	}, func() { t.Error("the sink does not fail") })
	watch(t, d).awaitFed(5)
	d.out.fail(nil)
}

func TestTheWatchdogIsFedWhileThereIsNoPlace(t *testing.T) {
	d := newDesk(t, nil)
	d.srv.slots.resize(1)
	d.open().greeted()
	watch(t, d).awaitFed(5)
}

func TestTheWatchdogIsFedWhileAcceptFails(t *testing.T) {
	var f failing
	errno := unix.EMFILE
	f.fault.Store(&errno)
	d := newDesk(t, nil)
	d.accept = f.accept
	watch(t, d.open()).awaitFed(5)
}

func TestAWedgedSinkStarvesTheWatchdog(t *testing.T) {
	d := newDesk(t, nil).open()
	w := watch(t, d)
	w.awaitFed(1)
	resume := d.out.hang()
	defer resume()
	writes := d.out.begun()
	d.greeted()
	eventually(t, func() bool { return d.out.begun() > writes }, func() { t.Error("got no write, want one that hangs") })
	w.starves()
	resume()
	w.awaitFed(3)
}

func TestAWedgedAcceptLoopStarvesTheWatchdog(t *testing.T) {
	h := newHooked()
	d := newDesk(t, nil)
	d.accept = h.accept
	w := watch(t, d.open())
	<-h.held
	w.starves()
	close(h.release)
	w.awaitFed(3)
}
