package daemon

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// limiting is a change of the limits over all listeners, and of those of the first one.
func limiting(change func(all *config.Limits, own *config.ListenerLimits)) func(*config.Config) {
	return func(cfg *config.Config) { change(&cfg.Limits, &cfg.Listeners[0].Limits) }
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func parsePrefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// from connects from an address of this machine.
func (d *desk) from(address string) *client {
	d.t.Helper()
	return dial(d.t, d.ln.addr.String(), &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}})
}

// refused takes what a refused client is told, and the end.
func (c *client) refused(want string) {
	c.t.Helper()
	if got := c.hearEnd(); got != want {
		c.t.Errorf("heard %q, want %q", got, want)
	}
}

func TestTheRefusedAreToldAndCounted(t *testing.T) {
	const text = "not you\r\n"
	for _, c := range []struct {
		name   string
		change func(all *config.Limits, own *config.ListenerLimits)
		reason string
	}{
		{"by address", func(_ *config.Limits, own *config.ListenerLimits) {
			own.Deny = parsePrefixes("127.0.0.2/32")
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
			d := newDesk(t, limiting(func(all *config.Limits, own *config.ListenerLimits) {
				own.Refusal = config.Text(text)
				c.change(all, own)
			})).open()
			if strings.HasPrefix(c.reason, "source") || strings.HasPrefix(c.reason, "rate") {
				d.from("127.0.0.2").hear(d.banner)
			}
			again := d.from("127.0.0.2")
			again.refused(text)
			if !strings.HasPrefix(c.reason, "hours") {
				d.from("127.0.0.3").hear(d.banner)
			}
			eventually(t, func() bool { return d.srv.refusals.count() == 1 }, func() { // who is refused hears of it first
				t.Errorf("refused: got %d, want 1", d.srv.refusals.count())
			})
			d.srv.refusals.tell(d.srv.log, summaryInterval)
			if l := d.log.line("clients refused"); !holdsAll(l, []string{"level=WARN", " " + c.reason + " ", "last=" + again.addr(), "duration="}) {
				t.Errorf("log: got %q, want %s and the client's address", l, c.reason)
			}
			if strings.Contains(d.out.String(), again.addr()) {
				t.Errorf("records: got %s, want nothing of who was refused", d.out)
			}
		})
	}
}

// TestRefusalsAreToldOnceAnInterval, however many there are, and those in between the next time.
func TestRefusalsAreToldOnceAnInterval(t *testing.T) {
	d := newDesk(t, limiting(func(_ *config.Limits, own *config.ListenerLimits) { own.Deny = []netip.Prefix{loopback} })).open()
	for range 50 {
		d.client().refused("")
		d.srv.refusals.tell(d.srv.log, summaryInterval)
	}
	if n := strings.Count(d.log.String(), "clients refused"); n != 1 {
		t.Errorf("log: got %d lines, want 1: %s", n, d.log)
	}
	d.srv.refusals.tell(d.srv.log, 0)
	d.srv.refusals.tell(d.srv.log, 0) // there is nothing new
	if log := d.log.String(); strings.Count(log, "clients refused") != 2 || !strings.Contains(log, " denied=49 ") {
		t.Errorf("log: got %s, want a second line with the other 49", log)
	}
}

// TestARefusalReachesWhoHasSpoken: a close on unread bytes is a reset, which takes the text back.
func TestARefusalReachesWhoHasSpoken(t *testing.T) {
	d := newDesk(t, limiting(func(_ *config.Limits, own *config.ListenerLimits) {
		own.Deny, own.Refusal = []netip.Prefix{loopback}, config.Text("no\r\n")
	}))
	c := d.client() // it waits in the backlog
	c.say(strings.Repeat("x", 10_000))
	d.open()
	c.refused("no\r\n")
	eventually(t, func() bool { return d.srv.refusals.count() == 1 }, func() { t.Error("refused: got none, want one") })
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

func TestAPlaceIsFreeAgainWhenItsClientHasLeft(t *testing.T) {
	d := newDesk(t, limiting(func(all *config.Limits, own *config.ListenerLimits) {
		all.ClientsPerSource, own.ClientsPerSource = 1, 1
	})).open()
	for range 3 {
		c := d.greeted()
		d.client().refused("")
		_ = c.Close()
		d.awaitClients(0)
		eventually(t, func() bool { return d.places() == 0 }, func() { t.Errorf("places taken: got %d, want none", d.places()) })
	}
}

// TestTheSurplusOfAListenerWaits: it is not refused, and another listener is not held up by it.
func TestTheSurplusOfAListenerWaits(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) {
		other := cfg.Listeners[0]
		other.Name = "other"
		cfg.Listeners = append(cfg.Listeners, other)
		cfg.Listeners[0].Limits.Clients = 1
	}).open()
	other := d.serveToo(1)
	first := d.greeted()
	second := d.client()
	second.say("early\n")
	d.log.await(t, "as many clients as the listener's limits.clients allows, new ones wait")
	dial(t, other.addr.String(), nil).hear(d.banner)
	if n := d.srv.Clients(); n != 2 {
		t.Errorf("clients: got %d, want 2", n)
	}
	_ = first.Close()
	second.hear(d.banner)
	d.records(second.addr() + ": early\n")
}

// TestAPlaceThatIsFreedAtOneListenerIsAnothers where all have so many together.
func TestAPlaceThatIsFreedAtOneListenerIsAnothers(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) {
		other := cfg.Listeners[0]
		other.Name = "other"
		cfg.Listeners = append(cfg.Listeners, other)
		cfg.Limits.Clients = 1
	}).open()
	other := d.serveToo(1)
	for range 5 {
		first := d.greeted()
		second := dial(t, other.addr.String(), nil)
		_ = first.Close()
		second.hear(d.banner)
		third := d.client()
		_ = second.Close()
		third.hear(d.banner)
		_ = third.Close()
	}
}

func TestAListenersSocketsShareItsPlaces(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) {
		cfg.Listeners[0].Address = []string{"127.0.0.1:0", "127.0.0.1:0"}
		cfg.Listeners[0].Limits.ClientsPerSource = 1
	}).open()
	other := d.serveToo(1)
	d.greeted()
	dial(t, other.addr.String(), nil).refused("")
}

// serveToo lets clients in at a further socket too.
func (d *desk) serveToo(i int) *listener {
	go func() { _ = d.srv.Serve(d.lns[i]) }() // it ends with the desk
	return d.lns[i]
}

func TestAReloadBringsOtherLimits(t *testing.T) {
	r := runReloadable(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("hello\n") })
	before := r.dial()
	greeting(t, before)
	r.reload(func(cfg *config.Config) error {
		cfg.Limits.ClientsPerSource, cfg.Listeners[0].Limits.Refusal = 1, config.Text("full\n")
		return nil
	})
	first := r.dial()
	if got := greeting(t, first); got != "hello\n" {
		t.Errorf("the first after the reload heard %q, want the banner", got)
	}
	if got := greeting(t, r.dial()); got != "full\n" {
		t.Errorf("the second after the reload heard %q, want the refusal", got)
	}
	r.reload(func(cfg *config.Config) error { cfg.Listeners[0].Limits.Deny = []netip.Prefix{loopback}; return nil })
	if got := greeting(t, r.dial()); got != "full\n" {
		t.Errorf("who is denied heard %q, want the refusal", got)
	}
	r.reload(func(cfg *config.Config) error {
		cfg.Limits.ClientsPerSource, cfg.Listeners[0].Limits = 0, config.ListenerLimits{}
		return nil
	})
	if got := greeting(t, r.dial()); got != "hello\n" {
		t.Errorf("without limits: heard %q, want the banner", got)
	}
}

// TestAListenersOwnPlacesAreTakenOnWithTheNextDaemon: who was there counts at the listener, and gives the place back.
func TestAListenersOwnPlacesAreTakenOnWithTheNextDaemon(t *testing.T) {
	change := limiting(func(_ *config.Limits, own *config.ListenerLimits) { own.Clients = 1 })
	d, e := surviving(t, change)
	d.open()
	conn := d.greeted()
	d.leave()
	next := e.heir(change)
	waiting := next.client()
	next.log.await(t, "as many clients as the listener's limits.clients allows")
	if n := next.srv.Clients(); n != 1 {
		t.Errorf("clients: got %d, want 1", n)
	}
	_ = conn.CloseWrite()
	conn.hearEnd()
	waiting.hear(next.banner)
}

// TestAConnectionThatCannotBeServedCostsNothing: the place and the source's count are given back.
func TestAConnectionThatCannotBeServedCostsNothing(t *testing.T) {
	d := newDesk(t, limiting(func(all *config.Limits, own *config.ListenerLimits) {
		all.Clients, own.Clients, all.ClientsPerSource, own.ClientsPerSource = 1, 1, 1, 1
	}))
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0) // no socket
	if err != nil {
		t.Fatal(err)
	}
	if full := d.srv.takePlace(d.ln); full != nil {
		t.Fatal("there is no place")
	}
	d.srv.admit(d.ln, fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 1})
	d.log.await(t, "connection cannot be served")
	d.open().greeted()
}
