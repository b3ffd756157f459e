package server_test

import (
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/servertest"
)

// limiting is a change of the limits over all listeners, and of those of the first one.
func limiting(change func(all *config.Limits, own *config.ListenerLimits)) func(*config.Config) {
	return func(cfg *config.Config) { change(&cfg.Limits, &cfg.Listeners[0].Limits) }
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func TestRefusedClientsAreToldAndCounted(t *testing.T) {
	const text = "not you\r\n"
	for _, c := range []struct {
		name   string
		change func(all *config.Limits, own *config.ListenerLimits)
		reason string
	}{
		{"by address", func(_ *config.Limits, own *config.ListenerLimits) {
			own.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
		}, "denied=1"},
		{"outside the hours", func(_ *config.Limits, own *config.ListenerLimits) {
			own.AccessTimes = []config.Window{{From: 0, To: 1440}} // on no day
		}, "hours=1"},
		{"for a source's clients", func(all *config.Limits, _ *config.ListenerLimits) { all.ClientsPerSource = 1 }, "source=1"},
		{"for a source's clients at this listener", func(_ *config.Limits, own *config.ListenerLimits) { own.ClientsPerSource = 1 }, "source=1"},
		{"for a source's rate", func(all *config.Limits, _ *config.ListenerLimits) {
			all.RatePerSource = config.Rate{Count: 1, Per: time.Hour}
		}, "rate=1"},
		{"for a source's rate at this listener", func(_ *config.Limits, own *config.ListenerLimits) {
			own.RatePerSource = config.Rate{Count: 1, Per: time.Hour}
		}, "rate=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, limiting(func(all *config.Limits, own *config.ListenerLimits) {
				own.Refusal = config.Text(text)
				c.change(all, own)
			})).Open()
			if strings.HasPrefix(c.reason, "source") || strings.HasPrefix(c.reason, "rate") {
				f.From("127.0.0.2").Hear(f.Banner)
			}
			again := f.From("127.0.0.2")
			again.Refused(text)
			if !strings.HasPrefix(c.reason, "hours") {
				f.From("127.0.0.3").Hear(f.Banner)
			}
			awaitRefused(t, f, 1)
			f.Server.Report(logging.SummaryInterval)
			wantLine(t, f.Log, "clients refused", "level=WARN", " "+c.reason+" ", "last="+again.Addr(), "duration=")
			if strings.Contains(f.Out.String(), again.Addr()) {
				t.Errorf("records: got %s, want nothing of a refused client", f.Out)
			}
		})
	}
}

// awaitRefused waits until n clients were refused, of which a client may hear earlier.
func awaitRefused(t *testing.T, f *servertest.Fixture, n int64) {
	t.Helper()
	servertest.Eventually(t, func() bool { return f.Server.Refused() == n }, func() {
		t.Errorf("refused: got %d, want %d", f.Server.Refused(), n)
	})
}

// TestRefusalsAreReportedOnceAnInterval, however many there are, and those in between the next
// time.
func TestRefusalsAreReportedOnceAnInterval(t *testing.T) {
	f := servertest.New(t, limiting(func(_ *config.Limits, own *config.ListenerLimits) { own.Deny = []netip.Prefix{loopback} })).Open()
	for i := range int64(50) {
		f.Client().Refused("")
		awaitRefused(t, f, i+1)
		f.Server.Report(logging.SummaryInterval)
	}
	if n := strings.Count(f.Log.String(), "clients refused"); n != 1 {
		t.Errorf("log: got %d lines, want 1: %s", n, f.Log)
	}
	f.Server.Report(0)
	f.Server.Report(0) // there is nothing new
	if log := f.Log.String(); strings.Count(log, "clients refused") != 2 || !strings.Contains(log, " denied=49 ") {
		t.Errorf("log: got %s, want a second line with the other 49", log)
	}
}

// TestARefusalReachesWhoHasSpoken: a close on unread bytes is a reset, which takes the text back.
func TestARefusalReachesWhoHasSpoken(t *testing.T) {
	f := servertest.New(t, limiting(func(_ *config.Limits, own *config.ListenerLimits) {
		own.Deny, own.Refusal = []netip.Prefix{loopback}, config.Text("no\r\n")
	}))
	c := f.Client() // it waits in the backlog
	c.Say(strings.Repeat("x", 10_000))
	f.Open()
	c.Refused("no\r\n")
	awaitRefused(t, f, 1)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var state *unix.TCPInfo
	_ = raw.Control(func(fd uintptr) { state, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || state.State != unix.BPF_TCP_CLOSE_WAIT {
		t.Errorf("the client's socket: got state %d and %v, want one that was told the end (%d), not reset", state.State, err, unix.BPF_TCP_CLOSE_WAIT)
	}
}

// TestBytesAreSentAsTheyAre: bytes that are no UTF-8, and bytes that a text would have filled in.
func TestBytesAreSentAsTheyAre(t *testing.T) {
	const odd = "{client}{time}\x00\xd9\xdc\xff{offset}\x80"
	f := servertest.New(t, func(cfg *config.Config) {
		l, raw := &cfg.Listeners[0], config.Bytes{Raw: odd, Hex: true}
		l.Banner, l.Ack, l.Limits.Refusal = raw, raw, raw
		l.Limits.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	}).Open()
	f.From("127.0.0.2").Refused(odd)
	c := f.Client()
	c.Hear(odd)
	c.Say("a\n")
	c.Hear(odd)
}

// TestAConnectionThatCannotBeServedCostsNothing: the place and the source's count are given back.
func TestAConnectionThatCannotBeServedCostsNothing(t *testing.T) {
	var served atomic.Bool
	f := servertest.New(t, limiting(func(all *config.Limits, own *config.ListenerLimits) {
		all.Clients, own.Clients, all.ClientsPerSource, own.ClientsPerSource = 1, 1, 1, 1
	}), servertest.Accept(func(fd int) (int, syscall.Sockaddr, error) {
		if served.Swap(true) {
			return syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		}
		noSocket, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		return noSocket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 1}, err
	})).Open()
	f.Log.Await(t, "connection cannot be served")
	f.Greeted()
}

// TestOtherLimitsHoldUnderLiveClients holds for what a reload changes.
func TestOtherLimitsHoldUnderLiveClients(t *testing.T) {
	f := servertest.New(t, nil).Open()
	change := func(change func(all *config.Limits, own *config.ListenerLimits)) {
		limiting(change)(&f.Config)
		c := f.Config.Listeners[0]
		f.Server.Configure(f.Binding(), c, 0)
		f.Binding().SetRules(admission.NewRules(c.Limits.Allow, c.Limits.Deny))
		f.Server.SetLimits(f.Config, f.Bindings)
		f.Server.Refresh()
	}
	f.Greeted()
	change(func(all *config.Limits, own *config.ListenerLimits) {
		all.ClientsPerSource, own.Refusal = 1, config.Text("full\n")
	})
	f.Greeted() // the one before came when none was counted
	f.Client().Refused("full\n")
	change(func(_ *config.Limits, own *config.ListenerLimits) { own.Deny = []netip.Prefix{loopback} })
	f.Client().Refused("full\n")
	change(func(all *config.Limits, own *config.ListenerLimits) {
		all.ClientsPerSource, *own = 0, config.ListenerLimits{}
	})
	f.Greeted()
}
