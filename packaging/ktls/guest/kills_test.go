//go:build ktlsguest

package guest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	kills    = 100
	restarts = 20
	upgrades = 4
)

// TestKillsCloseNoClientOfTLS: a hundred clients, a quarter of which have certificates, go through
// kills at any moment, restarts and upgrades, while others come and go. None of the hundred is
// closed, no line is lost and none is recorded twice.
func TestKillsCloseNoClientOfTLS(t *testing.T) {
	Needs(t, Loaded)
	if !strings.Contains(os.Getenv("KTLS_RUN"), "Kills") {
		t.Skip("it takes five minutes: KTLS_MODULE=loaded KTLS_RUN=TestKills make e2e-ktls")
	}
	k := newKilling(t)
	k.start()()
	until(t, "the daemon knows that there is a store", func() bool { return k.count(&k.removed) > 0 })
	for i := range devices {
		k.devices = append(k.devices, k.connect(i))
	}
	k.survive(devices, devices)
	var talking, visiting sync.WaitGroup
	for _, d := range k.devices {
		talking.Go(d.talk)
		talking.Go(d.hear)
	}
	for i := range visitors {
		visiting.Go(func() { k.visit(i) })
	}
	for i, event := range k.events() {
		if i%32 == 0 {
			t.Logf("%d kills, restarts and upgrades", i)
		}
		k.grant()
		event()
	}
	k.listening.Store(true)
	close(k.stop)
	visiting.Wait()
	k.grant()
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
	listening     atomic.Bool
	devices       []*device
	acked, owed   counter       // acknowledgements that came, and lines that are still to be sent
	shook, closed chan struct{} // a visitor has made its handshake; has sent close_notify

	mu     sync.Mutex
	visits []visit
}

// counter counts what goroutines do.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) get() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("KTLS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("KTLS_SEED: %v", err)
		}
	}
	t.Logf("KTLS_SEED=%d chooses the same", seed)
	k := &killing{
		manager: newManager(t), rnd: rand.New(rand.NewPCG(seed, 0)), seed: seed, dir: t.TempDir(),
		authority: tlstest.NewAuthority(t), stop: make(chan struct{}),
		shook: make(chan struct{}), closed: make(chan struct{}),
	}
	k.records, k.control = filepath.Join(k.dir, "records.log"), filepath.Join(k.dir, "control")
	k.address, k.noAnswer = k.socket("tcpmux"), k.socket("deaf")
	certificate, key, ca := k.authority.Write(k.authority.Server())
	// Clients of the second listener do not take what they are sent.
	err := os.WriteFile(k.config, fmt.Appendf(nil, `
address = "127.0.0.1:0"
control = %q
banner = "hello\n"
ack = "{offset}\n"
ack_timeout = "0s"
survive_after = "0s"
drain_timeout = "60s"
lost_timeout = "2h"
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
[[listener]]
name = "deaf"
address = "127.0.0.1:0"
model = "thread"
ack = "{offset} %s\n"
`, k.control, certificate, key, ca, k.records, strings.Repeat("x", 1000)), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// survive waits until so many clients would outlive a crash, n of them by the kernel's TLS.
func (k *killing) survive(clients, n int) {
	k.t.Helper()
	until(k.t, fmt.Sprintf("%d clients would outlive a crash", clients), func() bool {
		var s api.Status
		if err := json.Unmarshal([]byte(k.asks(k.control, "status", "--json")), &s); err != nil {
			k.t.Fatal(err)
		}
		return s.Survive.Clients == clients && s.TLS.Survive == n && s.TLS.Kernel == n
	})
}

// grant lets each device send one more line.
func (k *killing) grant() {
	k.owed.add(len(k.devices))
	for _, d := range k.devices {
		d.granted <- struct{}{}
	}
}

// events returns what happens to the daemon, in random order.
func (k *killing) events() (all []func()) {
	add := func(n int, event func()) {
		for range n {
			all = append(all, event)
		}
	}
	atStart, inUpgrade := kills/10, kills/25
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
		k.listening.Store(true)
		k.moment()
		k.ends(syscall.SIGINT)
		k.start()()
		k.listening.Store(false)
	})
	add(upgrades, func() {
		k.listening.Store(true)
		k.moment()
		before := k.count(&k.ready)
		k.signal(syscall.SIGUSR2)
		k.isReady(before)
		k.listening.Store(false)
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
			time.Sleep(time.Millisecond)
		}
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

// meet waits for a visitor, if one comes soon.
func (k *killing) meet(visitor chan struct{}) {
	select {
	case visitor <- struct{}{}:
	case <-time.After(5 * time.Second):
	}
}

// met has the test's goroutine go on that waits for this, if it does.
func met(by chan struct{}) {
	select {
	case <-by:
	default:
	}
}

// recorded is a record.
type recorded struct {
	Kind, Session, Remote, Subject, Data, End, Flag, Reason string

	Offset int64
	TLS    *struct{ Subject string }
}

// compare compares what is recorded with what was sent.
func (k *killing) compare() {
	byRemote := map[string]*device{}
	for _, d := range k.devices {
		byRemote[d.remote] = d
	}
	file, err := os.Open(k.records)
	if err != nil {
		k.t.Fatal(err)
	}
	defer file.Close()
	seen, opens, closes := map[string]int{}, map[string]int{}, map[string]int{}
	for decoder := json.NewDecoder(file); decoder.More(); {
		var r recorded
		if err := decoder.Decode(&r); err != nil {
			k.t.Fatal(err)
		}
		d := byRemote[r.Remote]
		switch {
		case r.Kind == "open":
			opens[r.Session]++
		case r.Kind == "close":
			closes[r.Session]++
		case d == nil:
			seen[r.Data+r.End]++
		}
		if d != nil {
			d.compare(&r)
		}
	}
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
	if over == 0 || k.acked.get() == 0 {
		k.t.Error("nobody has visited, or nothing was acknowledged")
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
