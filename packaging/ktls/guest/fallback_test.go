//go:build ktlsguest

package guest

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestWithoutTheModuleClientsEndWithTheDaemon: at a kill, which is recorded as the reason, and at a
// restart when they have finished. The log, "status" and "sessions" say so. What was acknowledged
// is recorded, and nothing twice.
func TestWithoutTheModuleClientsEndWithTheDaemon(t *testing.T) {
	Needs(t, Missing)
	if !strings.Contains(os.Getenv("KTLS_RUN"), "WithoutTheModule") {
		t.Skip("it takes a client for another one that had the same port: KTLS_MODULE=missing KTLS_RUN=TestWithoutTheModule make e2e-ktls")
	}
	const clients, kills, restarts = 10, 12, 3
	k := newKilling(t)
	k.start()()
	until(t, "the daemon knows that there is a store", func() bool { return k.count(&k.removed) > 0 })
	if log := k.said(); !strings.Contains(log, `level=WARN msg="TLS clients end with the daemon" listener=tcpmux`) || !strings.Contains(log, "modprobe tls") {
		t.Errorf("log: got %s, want that clients end with the daemon, and why", log)
	}
	reasons := map[string]string{} // why each client ends
	var all []*mortal
	for round := range kills + restarts {
		if round%8 == 0 {
			t.Logf("%d kills and restarts", round)
		}
		now := make([]*mortal, clients)
		var talking sync.WaitGroup
		for i := range now {
			now[i] = k.mortal(round*clients + i)
			talking.Go(now[i].talk)
		}
		all = append(all, now...)
		k.isRecorded(now)
		if round == 0 {
			k.saysWhy(clients)
		}
		if round%((kills+restarts)/restarts) == 0 {
			for _, c := range now {
				reasons[c.remote] = "eof" // it is let finish
			}
			k.ends(syscall.SIGINT)
		} else {
			for _, c := range now {
				reasons[c.remote] = "crash"
			}
			// When this one is kept for the next daemon, so are those that came before.
			silent := k.dial(k.address, &net.Dialer{})
			k.survive(1, 0)
			k.kill()
			_ = silent.Close()
		}
		k.start()() // until then nobody closes those that were killed
		talking.Wait()
	}
	k.ends(syscall.SIGTERM)
	k.compareMortals(all, reasons)
}

// mortal is a client that ends with the daemon.
type mortal struct {
	k       *killing
	conn    *tls.Conn
	remote  string
	subject string
	rnd     *rand.Rand
	started chan struct{} // closed once something is acknowledged
	sent    []byte
	acked   int64 // where the last line begins that was acknowledged; -1: none
}

func (k *killing) mortal(i int) *mortal {
	k.t.Helper()
	d := k.connect(20*i + i%8) // none that is deaf
	return &mortal{k: k, conn: d.conn, remote: d.remote, subject: d.subject, rnd: d.rnd, started: make(chan struct{}), acked: -1}
}

// talk sends lines, each once the one before is acknowledged, until the end.
func (c *mortal) talk() {
	in := bufio.NewReader(c.conn)
	if banner, err := in.ReadString('\n'); err != nil || banner != "hello\n" {
		c.k.t.Errorf("client %s: got %q and %v, want the banner", c.remote, banner, err)
	}
	for n := 0; ; n++ {
		line := fmt.Appendf(nil, "%s line %d %s\n", c.remote, n, strings.Repeat("x", c.rnd.IntN(5000)))
		start := int64(len(c.sent))
		if _, err := c.conn.Write(line); err != nil {
			return
		}
		c.sent = append(c.sent, line...)
		ack, err := in.ReadString('\n')
		if err != nil {
			_ = c.conn.Close() // at a restart the daemon waits for that
			return
		}
		if want := fmt.Sprintln(start); ack != want {
			c.k.t.Errorf("client %s: got acknowledgement %q, want %q", c.remote, ack, want)
			return
		}
		if c.acked = start; n == 0 {
			close(c.started)
		}
	}
}

// isRecorded waits until something of each client is.
func (k *killing) isRecorded(clients []*mortal) {
	k.t.Helper()
	for _, c := range clients {
		select {
		case <-c.started:
		case <-time.After(patience):
			k.t.Fatalf("client %s: not within %v: something is acknowledged", c.remote, patience)
		}
	}
}

// saysWhy looks at what the daemon says of its clients.
func (k *killing) saysWhy(clients int) {
	k.t.Helper()
	const ends, why = "clients end with the daemon: ", `the kernel has no TLS: as root, "modprobe tls"`
	if got := k.asks(k.control, "status"); !strings.Contains(got, ends+why) || !strings.Contains(got, fmt.Sprintf("%d clients, 0 by the kernel", clients)) {
		k.t.Errorf("status: got %s, want that clients end with the daemon, and why", got)
	}
	if got := k.asks(k.control, "sessions"); strings.Count(got, "1.3 user space") != clients {
		k.t.Errorf("sessions: got %s, want TLS 1.3 in user space %d times", got, clients)
	}
	if got := k.asks(k.control, "sessions", "--json"); strings.Count(got, "modprobe tls") != clients {
		k.t.Errorf("sessions --json: got %s, want why %d times", got, clients)
	}
}

// compareMortals compares what is recorded with what was sent, and why each client has ended.
func (k *killing) compareMortals(clients []*mortal, reasons map[string]string) {
	k.t.Helper()
	at, closes, byRemote := map[string]int64{}, map[string]int{}, map[string]*mortal{}
	for _, c := range clients {
		byRemote[c.remote] = c
	}
	file, err := os.Open(k.records)
	if err != nil {
		k.t.Fatal(err)
	}
	defer file.Close()
	for decoder := json.NewDecoder(file); decoder.More(); {
		var r recorded
		if err := decoder.Decode(&r); err != nil {
			k.t.Fatal(err)
		}
		c := byRemote[r.Remote]
		switch message := r.Data + r.End; {
		case c == nil && r.Kind == "message":
			k.t.Errorf("got %.60q of %s, which has sent nothing", message, r.Remote)
		case c == nil:
		case r.Kind == "close":
			closes[r.Remote]++
			if r.Reason != reasons[r.Remote] {
				k.t.Errorf("client %s: got the end by %s, want %s", r.Remote, r.Reason, reasons[r.Remote])
			}
		case r.Kind == "message":
			if r.Offset != at[r.Remote] || !strings.HasPrefix(string(c.sent[r.Offset:]), message) || r.Subject != c.subject {
				k.t.Errorf("client %s: got %.60q at offset %d of subject %q, want what was sent from %d on by %q",
					r.Remote, message, r.Offset, r.Subject, at[r.Remote], c.subject)
			}
			at[r.Remote] = r.Offset + int64(len(message))
		}
	}
	for _, c := range clients {
		drained := reasons[c.remote] == "eof"
		switch {
		case closes[c.remote] != 1:
			k.t.Errorf("client %s: got %d closes, want one", c.remote, closes[c.remote])
		case at[c.remote] <= c.acked || drained && at[c.remote] != int64(len(c.sent)):
			k.t.Errorf("client %s: got %d bytes recorded of %d, drained %v, acknowledged from %d on", c.remote, at[c.remote], len(c.sent), drained, c.acked)
		}
	}
}
