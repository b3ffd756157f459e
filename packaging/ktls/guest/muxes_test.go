//go:build ktlsguest

package guest

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

// How many clients come at a time, and how often.
const (
	muxWaves  = 3
	muxAtOnce = 6
)

// TestKillsCloseNoClientOfAMuxInTLS: clients name their listener to a mux, in pieces and with data
// right behind the name, in TLS or with the handshake behind it. In the middle of the name, behind
// it and later the daemon is killed, restarted and upgraded. Each client is answered once and
// closed never, and what it sends is recorded once, from the first byte behind the name on.
func TestKillsCloseNoClientOfAMuxInTLS(t *testing.T) {
	Needs(t, Loaded)
	k := newTrial(t)
	plain := k.socket("plain")
	k.configure(`mux = ["logs", "audit"]`, `
[[listener]]
name = "plain"
address = "127.0.0.1:0"
mux = ["late"]
[listener.tls]
certificate = ""
`+inMux("logs", "goroutine")+inMux("audit", "thread")+inMux("late", "goroutine"))
	k.start()()
	until(t, "the daemon knows that there is a store", func() bool { return k.count(&k.removed) > 0 })
	var talking sync.WaitGroup
	for wave := range muxWaves {
		all := make([]*naming, muxAtOnce)
		var connecting sync.WaitGroup
		for i := range all {
			all[i] = k.naming(wave*muxAtOnce+i, plain)
			connecting.Go(all[i].connect)
		}
		connecting.Wait()
		k.status(k.control, "all clients would outlive a crash", func(s api.Status) bool {
			return s.Survive.Clients == len(k.devices) && s.TLS.Survive == len(k.devices)
		})
		k.befall()
		k.meanwhile(all, (*naming).begin)
		k.meanwhile(all, (*naming).end)
		for _, n := range all {
			talking.Go(n.hearReply)
			talking.Go(func() { n.say(n.rest); n.talk() })
		}
		k.befall()
		k.grant(len(k.devices) / 2)
		k.befall()
	}
	k.grant(len(k.devices))
	for _, d := range k.devices {
		close(d.granted)
	}
	talking.Wait()
	k.ends(syscall.SIGTERM)
	if out, err := exec.Command("tcpmux", "verify", k.records).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	k.compare()
	of := map[string]string{"logs": "tcpmux", "audit": "tcpmux", "late": "plain"}
	readRecords(t, k.records, func(r *recorded) {
		if want, known := of[r.Listener]; r.Kind != "start" && r.Kind != "stop" && (!known || r.Mux != want) {
			t.Errorf("got a record of kind %s, listener %q and mux %q, want that of %v", r.Kind, r.Listener, r.Mux, of)
		}
	})
}

// inMux returns the table of a listener that only muxes reach.
func inMux(name, model string) string {
	return fmt.Sprintf("[[listener]]\nname = %q\nmodel = %q\n%s", name, model, answering)
}

// befall has something happen to the daemon, at any moment: most often a kill.
func (k *killing) befall() {
	k.any(50 * time.Millisecond)
	switch n := k.rnd.IntN(10); {
	case n < 7:
		k.kill()
		k.start()()
	case n < 8: // and again while it starts
		k.kill()
		k.start()
		k.any(k.starting)
		k.kill()
		k.start()()
	case n < 9:
		k.ends(syscall.SIGINT)
		k.start()()
	default:
		before := k.count(&k.ready)
		k.signal(syscall.SIGUSR2)
		k.isReady(before)
	}
}

// meanwhile has something happen to the daemon while all clients do something.
func (k *killing) meanwhile(all []*naming, do func(*naming)) {
	var doing sync.WaitGroup
	for _, n := range all {
		doing.Go(func() { do(n) })
	}
	k.befall()
	doing.Wait()
}

// naming is a device that names its listener first.
type naming struct {
	*device
	raw        net.Conn
	config     *tls.Config
	name, rest string // what is to be sent of the name, and of the line behind it
}

// naming returns a client that is yet to connect.
func (k *killing) naming(i int, plain string) *naming {
	listener := []string{"logs", "audit", "late"}[i%3]
	d := &device{
		k: k, listener: listener, rnd: rand.New(rand.NewPCG(k.seed, uint64(1+i))),
		granted: make(chan struct{}, 10_000), over: make(chan struct{}),
	}
	k.devices = append(k.devices, d)
	n := &naming{device: d, name: listener + "\r\n"}
	if d.rnd.IntN(2) == 0 {
		n.name = strings.ToUpper(listener) + "\n"
	}
	n.config, d.subject = k.clientConfig(i)
	address := k.address
	if listener == "late" {
		address = plain
	}
	n.raw = k.dial(address, &net.Dialer{})
	k.t.Cleanup(func() { _ = n.raw.Close() })
	d.remote = n.raw.LocalAddr().String()
	_ = n.raw.SetDeadline(time.Now().Add(talkTime))
	return n
}

// connect makes the handshake, behind the name if that comes in clear text.
func (n *naming) connect() {
	if n.listener == "late" {
		_, err := io.WriteString(n.raw, n.name)
		n.name = ""
		n.hearGo(n.raw)
		n.check(err)
	}
	n.conn = tls.Client(n.raw, n.config)
	n.check(n.conn.Handshake())
}

// begin sends the first bytes of the name, in one or two pieces.
func (n *naming) begin() {
	for range 2 {
		piece := n.name[:n.rnd.IntN(max(1, len(n.name)))]
		n.name = n.name[len(piece):]
		n.say(piece)
	}
}

// end sends the rest of the name, and with it some of the line that follows.
func (n *naming) end() {
	line := string(n.line())
	n.starts = append(n.starts, 0)
	n.sent.WriteString(line)
	at := n.rnd.IntN(len(line) + 1)
	n.rest = line[at:]
	n.say(n.name + line[:at])
}

// hearReply takes the reply to the name, and then all else.
func (n *naming) hearReply() {
	if n.listener != "late" {
		n.hearGo(n.conn)
	}
	n.hear()
}

func (n *naming) hearGo(from io.Reader) {
	reply := make([]byte, len("+Go\r\n"))
	if got, err := io.ReadFull(from, reply); err != nil || string(reply) != "+Go\r\n" {
		n.k.t.Errorf("client %s: got %q and %v, want the reply to the name", n.remote, reply[:got], err)
	}
}

func (n *naming) say(text string) {
	if text != "" {
		_, err := io.WriteString(n.conn, text)
		n.check(err)
	}
}

func (n *naming) check(err error) {
	if err != nil {
		n.k.t.Errorf("client %s of %s: %v", n.remote, n.listener, err)
	}
}
