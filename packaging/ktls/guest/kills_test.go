//go:build ktlsguest

package guest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/tlsconn/tlstest"
)

// How often what happens.
const (
	devices  = 100
	visitors = 2
	kills    = 25 // unless KTLS_KILLS says another number
)

// TestKillsCloseNoClientOfTLS: a hundred clients, a quarter of which have certificates, go through
// kills at any moment, restarts and upgrades, while others come and go. None of the hundred is
// closed, no line is lost and none is recorded twice.
func TestKillsCloseNoClientOfTLS(t *testing.T) {
	Needs(t, Loaded)
	k := newKilling(t)
	k.start()()
	until(t, "the daemon knows that there is a store", func() bool { return k.count(&k.removed) > 0 })
	k.connectAll(devices)
	k.survive(devices, devices)
	var talking, visiting sync.WaitGroup
	for _, d := range k.devices {
		talking.Go(d.talk)
		talking.Go(d.hear)
	}
	for i := range visitors {
		visiting.Go(func() { k.visit(i) })
	}
	for i, event := range k.events(int(number(t, "KTLS_KILLS", kills))) {
		if i%16 == 0 {
			t.Logf("%d kills, restarts and upgrades", i)
		}
		k.grant(devices / 2)
		event()
	}
	k.listening.open(true)
	until(t, "a visitor comes to its end", k.visited)
	close(k.stop)
	visiting.Wait()
	k.grant(devices)
	for _, d := range k.devices {
		close(d.granted)
	}
	talking.Wait()
	k.ends(syscall.SIGTERM)
	if out, err := exec.Command("tcpmux", "verify", k.records).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	k.compare()
}

// killing is such a trial.
type killing struct {
	*manager
	rnd               *rand.Rand // of the test's goroutine
	seed              uint64
	dir, records      string
	control           string
	authority         *tlstest.Authority
	address, noAnswer string // of the listeners
	stop              chan struct{}
	// Clients that do not take what they are sent do now: a restart and an upgrade wait for
	// them until drain_timeout, and then end them.
	listening     *gate
	devices       []*device
	acked, owed   counter       // acknowledgements that came, and lines that are still to be sent
	shook, closed chan struct{} // a visitor has made its handshake; has sent close_notify

	mu     sync.Mutex
	visits []visit
}

// newTrial returns one without a configuration.
func newTrial(t *testing.T) *killing {
	t.Helper()
	seed := number(t, "KTLS_SEED", uint64(time.Now().UnixNano()))
	t.Logf("KTLS_SEED=%d chooses the same", seed)
	k := &killing{
		manager: newManager(t), rnd: rand.New(rand.NewPCG(seed, 0)), seed: seed, dir: t.TempDir(),
		authority: tlstest.NewAuthority(t), stop: make(chan struct{}), listening: newGate(),
		shook: make(chan struct{}), closed: make(chan struct{}),
	}
	k.records, k.control = filepath.Join(k.dir, "records.log"), filepath.Join(k.dir, "control")
	k.address = k.socket("tcpmux")
	return k
}

// configure writes the configuration: keys of the top level, and tables of listeners.
func (k *killing) configure(keys, listeners string) {
	k.t.Helper()
	certificate, key, ca := k.authority.Write(k.authority.Server())
	err := os.WriteFile(k.config, fmt.Appendf(nil, `
address = "127.0.0.1:0"
control = %q
survive_after = "0s"
drain_timeout = "60s"
lost_timeout = "2h"
%s
[tls]
certificate = %q
key = %q
client_ca = %q
client_auth = "request"
handshake_timeout = "100s"
[record]
file = %q
format = "json"
[limits]
clients = 400
%s`, k.control, keys, certificate, key, ca, k.records, listeners), 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	k := newTrial(t)
	k.noAnswer = k.socket("deaf")
	// Clients of the second listener do not take what they are sent.
	k.configure(answering, fmt.Sprintf(`
[[listener]]
name = "deaf"
address = "127.0.0.1:0"
model = "thread"
ack = "{offset} %s\n"
`, strings.Repeat("x", 1000)))
	return k
}

// answering has clients hear what a device listens for.
const answering = `
banner = "hello\n"
ack = "{offset}\n"
ack_timeout = "0s"
`

// survive waits until so many clients would outlive a crash, n of them by the kernel's TLS.
func (k *killing) survive(clients, n int) {
	k.t.Helper()
	k.status(k.control, fmt.Sprintf("%d clients would outlive a crash", clients), func(s api.Status) bool {
		return s.Survive.Clients == clients && s.TLS.Survive == n && s.TLS.Kernel == n
	})
}

// grant lets n of the devices send one more line each.
func (k *killing) grant(n int) {
	k.owed.add(n)
	for _, i := range k.rnd.Perm(len(k.devices))[:n] {
		k.devices[i].granted <- struct{}{}
	}
}

// events returns what happens to the daemon, in random order: so many kills, and a fifth as many
// restarts.
func (k *killing) events(kills int) (all []func()) {
	add := func(n int, event func()) {
		for range n {
			all = append(all, event)
		}
	}
	restarts, upgrades := kills/5, max(1, kills/25)
	atStart, inUpgrade := max(1, kills/10), max(1, kills/25)
	add(kills-atStart-inUpgrade, func() { k.moment(); k.kill(); k.start()() })
	add(atStart, func() {
		k.moment()
		k.kill()
		k.start()
		k.any(k.starting)
		k.kill()
		k.start()()
	})
	add(inUpgrade, func() {
		k.moment()
		k.signal(syscall.SIGUSR2)
		k.any(2 * k.starting)
		k.kill()
		k.start()()
	})
	add(restarts, func() {
		k.listening.open(true)
		k.moment()
		k.ends(syscall.SIGINT)
		k.start()()
		k.listening.open(false)
	})
	add(upgrades, func() {
		k.listening.open(true)
		k.moment()
		before := k.count(&k.ready)
		k.signal(syscall.SIGUSR2)
		k.isReady(before)
		k.listening.open(false)
	})
	k.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (k *killing) signal(s syscall.Signal) {
	if err := k.daemon.Process.Signal(s); err != nil {
		k.t.Error(err)
	}
}

// any waits for a random time: any moment is right.
func (k *killing) any(most time.Duration) { time.Sleep(time.Duration(k.rnd.Int64N(int64(most)))) }

// moment waits for one at which something is under way.
func (k *killing) moment() {
	switch n := k.rnd.IntN(10); {
	case n < 5: // under load
		want, late := k.acked.get()+k.rnd.IntN(40), time.Now().Add(10*time.Second)
		for k.acked.get() < want && k.owed.get() > 0 && time.Now().Before(late) {
			time.Sleep(pause)
		}
		k.any(pause)
	case n < 8: // while the kernel is given keys
		k.meet(k.shook)
		k.any(3 * time.Millisecond)
	case n < 9: // while a half message and the end behind it are taken
		k.meet(k.closed)
		k.any(3 * time.Millisecond)
	default:
		k.any(100 * time.Millisecond)
	}
}

// compare compares what is recorded with what was sent.
func (k *killing) compare() {
	type connection struct{ listener, remote string } // a port may be of two connections, to different listeners
	devices := map[connection]*device{}
	for _, d := range k.devices {
		devices[connection{d.listener, d.remote}] = d
	}
	seen, opens, closes := map[string]int{}, map[string]int{}, map[string]int{}
	readRecords(k.t, k.records, func(r *recorded) {
		d := devices[connection{r.Listener, r.Remote}]
		switch {
		case r.Kind == "open":
			opens[r.Session]++
		case r.Kind == "close":
			closes[r.Session]++
		case d == nil:
			seen[r.Data+r.End]++
		}
		if d != nil {
			d.compare(r)
		}
	})
	for session, n := range opens {
		if n != 1 || closes[session] > 1 {
			k.t.Errorf("session %s: got %d opens and %d closes, want one of each", session, n, closes[session])
		}
	}
	for _, d := range k.devices {
		d.finish()
	}
	k.compareVisits(seen)
}

// compareVisits compares what is recorded of visitors, and how often, with what they sent.
func (k *killing) compareVisits(seen map[string]int) {
	greeted, over := 0, 0
	for _, v := range k.visits {
		for i, message := range []string{v.whole, v.half} {
			switch n := seen[message]; {
			case n > 1, n == 0 && v.acked > i, n > 0 && !v.greeted:
				k.t.Errorf("%q of a visitor: recorded %d times, greeted %v, %d acknowledged", message, n, v.greeted, v.acked)
			}
			delete(seen, message)
		}
		if v.greeted {
			greeted++
		}
		if v.over {
			over++
		}
	}
	if len(seen) > 0 {
		k.t.Errorf("recorded of visitors, which they did not send: %v", seen)
	}
	k.t.Logf("%d acknowledgements; %d visitors, %d were greeted, %d came to their end", k.acked.get(), len(k.visits), greeted, over)
}

// dial connects, with small segments.
func (k *killing) dial(address string, d *net.Dialer) *net.TCPConn {
	c, err := d.Dial("tcp", address)
	if err != nil {
		k.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}
