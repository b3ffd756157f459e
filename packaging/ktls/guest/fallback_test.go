//go:build ktlsguest

package guest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
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
	const clients, kills, restarts = 6, 25, 5
	k := newKilling(t)
	k.start()()
	until(t, "the daemon knows that there is a store", func() bool { return k.count(&k.removed) > 0 })
	if log := k.said(); !strings.Contains(log, `level=WARN msg="TLS clients end with the daemon" listener=tcpmux`) || !strings.Contains(log, "modprobe tls") {
		t.Errorf("log: got %s, want that clients end with the daemon, and why", log)
	}
	var all []*mortal
	for round := range kills + restarts {
		if round%8 == 0 {
			t.Logf("%d kills and restarts", round)
		}
		now := k.mortals(clients, round)
		var talking sync.WaitGroup
		for _, c := range now {
			talking.Go(c.talk)
		}
		all = append(all, now...)
		k.isRecorded(now)
		if round == 0 {
			k.saysWhy(clients)
		}
		if round%((kills+restarts)/restarts) == 0 {
			k.lets(now)
		} else {
			k.cuts(now)
		}
		k.start()() // until then nobody closes those that were killed
		talking.Wait()
	}
	k.ends(syscall.SIGTERM)
	k.compareMortals(all)
}

// lets has clients end as they want to, at a restart.
func (k *killing) lets(clients []*mortal) {
	for _, c := range clients {
		c.reason = "eof"
	}
	k.ends(syscall.SIGINT)
}

// cuts has clients end by a kill.
func (k *killing) cuts(clients []*mortal) {
	for _, c := range clients {
		c.reason = "crash"
	}
	// When this one is kept for the next daemon, so are those that came before.
	silent := k.dial(k.address, &net.Dialer{})
	k.survive(1, 0)
	k.any(50 * time.Millisecond)
	k.kill()
	_ = silent.Close()
}

// mortal is a client that ends with the daemon. Each line that it sends has its name, by which it
// is found in the records.
type mortal struct {
	k       *killing
	name    string
	conn    *tls.Conn
	subject string
	reason  string // why it ends
	rnd     *rand.Rand
	started chan struct{} // closed once something is acknowledged
	sent    []byte
	acked   int64 // where the last line begins that was acknowledged; -1: none
}

// mortals connects n of them.
func (k *killing) mortals(n, round int) (all []*mortal) {
	k.t.Helper()
	k.connectAll(n)
	for i, d := range k.devices {
		all = append(all, &mortal{
			k: k, name: fmt.Sprintf("client %d", round*n+i), conn: d.conn, subject: d.subject, rnd: d.rnd,
			started: make(chan struct{}), acked: -1,
		})
	}
	return all
}

// talk sends lines, each once the one before is acknowledged, until the end.
func (c *mortal) talk() {
	defer c.conn.Close() // at a restart the daemon waits for that
	in := bufio.NewReader(c.conn)
	if banner, err := in.ReadString('\n'); err != nil || banner != "hello\n" {
		c.k.t.Errorf("%s: got %q and %v, want the banner", c.name, banner, err)
	}
	for n := 0; ; n++ {
		line := fmt.Appendf(nil, "%s line %d %s\n", c.name, n, strings.Repeat("x", c.rnd.IntN(5000)))
		start := int64(len(c.sent))
		c.sent = append(c.sent, line...) // or a part of it
		if _, err := c.conn.Write(line); err != nil {
			return
		}
		ack, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if want := fmt.Sprintln(start); ack != want {
			c.k.t.Errorf("%s: got acknowledgement %q, want %q", c.name, ack, want)
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
			k.t.Fatalf("%s: not within %v: something is acknowledged", c.name, patience)
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

// trace is what is recorded of a session.
type trace struct {
	client        *mortal // nil: it has sent nothing
	opens, closes int
	at            int64 // the end of what is recorded
	reason        string
}

// compareMortals compares what is recorded with what was sent, and why each client has ended.
func (k *killing) compareMortals(clients []*mortal) {
	k.t.Helper()
	byName, traces := map[string]*mortal{}, map[string]*trace{}
	for _, c := range clients {
		byName[c.name] = c
	}
	readRecords(k.t, k.records, func(r *recorded) {
		s := traces[r.Session]
		if s == nil {
			s = new(trace)
			traces[r.Session] = s
		}
		switch r.Kind {
		case "open":
			s.opens++
		case "close":
			s.closes++
			s.reason = r.Reason
		case "message":
			if s.client == nil {
				name, _, _ := strings.Cut(r.Data, " line ")
				s.client = byName[name]
				delete(byName, name)
			}
			k.compareMortal(s, r)
		}
	})
	for name := range byName {
		k.t.Errorf("%s: got nothing recorded", name)
	}
	for session, s := range traces {
		if s.client != nil {
			s.finish()
		} else if s.opens > 1 || s.closes != s.opens {
			k.t.Errorf("session %s: got %d opens and %d closes, want one of each, or none", session, s.opens, s.closes)
		}
	}
}

// compareMortal compares a message of a session.
func (k *killing) compareMortal(s *trace, r *recorded) {
	message, c := r.Data+r.End, s.client
	switch {
	case c == nil:
		k.t.Errorf("session %s: got %.60q, which nobody has sent, or another session too", r.Session, message)
	case s.opens != 1 || s.closes != 0:
		k.t.Errorf("%s: got a message after %d opens and %d closes", c.name, s.opens, s.closes)
	case r.Offset != s.at || !strings.HasPrefix(string(c.sent[min(s.at, int64(len(c.sent))):]), message) || r.Subject != c.subject:
		k.t.Errorf("%s: got %.60q at offset %d of subject %q, want what was sent from %d on by %q", c.name, message, r.Offset, r.Subject, s.at, c.subject)
	}
	s.at = r.Offset + int64(len(message))
}

// finish compares the end of a session.
func (s *trace) finish() {
	switch c := s.client; {
	case s.opens != 1 || s.closes != 1 || s.reason != c.reason:
		c.k.t.Errorf("%s: got %d opens, %d closes and the end by %s; want one, one and %s", c.name, s.opens, s.closes, s.reason, c.reason)
	case s.at <= c.acked || c.reason == "eof" && s.at != int64(len(c.sent)):
		c.k.t.Errorf("%s: got %d bytes recorded of %d, acknowledged from %d on, end by %s", c.name, s.at, len(c.sent), c.acked, c.reason)
	}
}
