//go:build ktlsguest

package guest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

const (
	proxiedClients  = 12
	proxiedRestarts = 10
)

// TestClientsOfAProxyOutliveRestartsInTLS: while both sides send, or have stopped, or take nothing,
// the daemon is restarted and upgraded. All that was sent arrives in both directions, with the ends,
// and what is recorded is what the client has sent.
func TestClientsOfAProxyOutliveRestartsInTLS(t *testing.T) {
	Needs(t, Loaded)
	p := newProxying(t)
	p.connectAll(proxiedClients)
	p.status(p.control, "all clients would outlive a restart", func(s api.Status) bool {
		return s.Survive.Clients == proxiedClients && s.TLS.Survive == proxiedClients
	})
	var carrying sync.WaitGroup
	for _, c := range p.clients {
		for _, s := range []*stream{c.in, c.out} {
			carrying.Go(s.send)
			carrying.Go(s.take)
		}
	}
	for i := range proxiedRestarts {
		for _, c := range p.clients {
			c.in.grant(i)
			c.out.grant(i)
		}
		p.any(100 * time.Millisecond)
		if i%4 == 3 {
			before := p.count(&p.ready)
			p.signal(syscall.SIGUSR2)
			p.isReady(before)
			continue
		}
		p.ends(syscall.SIGINT)
		p.start()()
	}
	for _, c := range p.clients {
		c.in.end()
		c.out.end()
	}
	carrying.Wait()
	p.ends(syscall.SIGTERM)
	p.compareProxied("eof")
}

// TestAKillEndsClientsOfAProxyInTLS with a record, and their upstreams.
func TestAKillEndsClientsOfAProxyInTLS(t *testing.T) {
	Needs(t, Loaded)
	p := newProxying(t)
	p.connectAll(4)
	for _, c := range p.clients {
		for _, s := range []*stream{c.in, c.out} {
			s.grant(0)
			s.end()
			s.sendAll(false)
			s.takeAll(s.sent)
		}
	}
	p.status(p.control, "all clients would outlive a restart", func(s api.Status) bool { return s.Survive.Clients == 4 })
	p.kill()
	p.start()()
	for _, c := range p.clients {
		if got, err := io.ReadAll(c.up); len(got) > 0 || err != nil {
			t.Errorf("upstream of %s: got %q and %v, want the end", c.remote, got, err)
		}
		if got, err := io.ReadAll(c.conn); len(got) > 0 {
			t.Errorf("client %s: got %q and %v, want nothing", c.remote, got, err)
		}
	}
	p.ends(syscall.SIGTERM)
	p.compareProxied("crash")
}

// proxying is a trial of clients of proxies.
type proxying struct {
	*killing
	upstreams net.Listener
	front     string // the address of the mux
	recording string // that of the listener that records
	clients   []*proxied
}

func newProxying(t *testing.T) *proxying {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	p := &proxying{killing: newTrial(t), upstreams: ln}
	p.front, p.recording = p.socket("front"), p.socket("recorded")
	proxy := fmt.Sprintf("proxy = %q\n", ln.Addr())
	p.configure(proxy, `
[[listener]]
name = "front"
address = "127.0.0.1:0"
mux = ["inner"]
proxy = []
[[listener]]
name = "inner"
`+proxy+`
[[listener]]
name = "recorded"
address = "127.0.0.1:0"
framing = "chunk"
record = true
`+proxy)
	p.start()()
	until(t, "the daemon knows that there is a store", func() bool { return p.count(&p.removed) > 0 })
	return p
}

// proxied is a client with its upstream.
type proxied struct {
	listener, remote string
	conn             *tls.Conn
	up               *net.TCPConn
	in, out          *stream // to the upstream, and to the client

	recorded      bytes.Buffer
	opens, closes int
}

// connectAll connects n clients, one after another, so that it is known whose an upstream is.
func (p *proxying) connectAll(n int) {
	p.t.Helper()
	for i := range n {
		c := &proxied{listener: []string{"tcpmux", "recorded", "inner"}[i%3]}
		address := map[string]string{"tcpmux": p.address, "recorded": p.recording, "inner": p.front}[c.listener]
		raw := p.dial(address, &net.Dialer{Control: smallBuffers})
		p.t.Cleanup(func() { _ = raw.Close() })
		_ = raw.SetDeadline(time.Now().Add(talkTime))
		config, _ := p.clientConfig(i)
		c.conn, c.remote = tls.Client(raw, config), raw.LocalAddr().String()
		if err := c.conn.Handshake(); err != nil {
			p.t.Fatal(err)
		}
		if c.listener == "inner" {
			p.name(c)
		}
		up, err := p.upstreams.Accept()
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { _ = up.Close() })
		_ = up.SetDeadline(time.Now().Add(talkTime))
		c.up = up.(*net.TCPConn)
		c.in, c.out = p.stream(c, c.conn, c.up, 2*i), p.stream(c, c.up, c.conn, 2*i+1)
		p.clients = append(p.clients, c)
	}
}

// name names the listener behind the mux.
func (p *proxying) name(c *proxied) {
	p.t.Helper()
	reply := make([]byte, len("+Go\r\n"))
	_, err := io.WriteString(c.conn, "inner\r\n")
	if err == nil {
		_, err = io.ReadFull(c.conn, reply)
	}
	if err != nil || string(reply) != "+Go\r\n" {
		p.t.Fatalf("got %q and %v, want the reply to the name", reply, err)
	}
}

// compareProxied compares what has arrived and what is recorded with what was sent.
func (p *proxying) compareProxied(reason string) {
	if out, err := exec.Command("tcpmux", "verify", p.records).CombinedOutput(); err != nil {
		p.t.Errorf("verify: %v\n%s", err, out)
	}
	of := map[string]*proxied{}
	for _, c := range p.clients {
		of[c.remote] = c
	}
	readRecords(p.t, p.records, func(r *recorded) {
		c := of[r.Remote]
		switch {
		case r.Kind != "open" && r.Kind != "close" && r.Kind != "message":
		case c == nil || r.Listener != c.listener || r.TLS == nil && r.Kind == "open":
			p.t.Errorf("got a record of kind %s, listener %q and remote %q, which is no client's", r.Kind, r.Listener, r.Remote)
		case r.Kind == "open":
			c.opens++
		case r.Kind == "message":
			c.recorded.WriteString(r.Data + r.End)
		default:
			if c.closes++; r.Reason != reason || reason == "eof" && r.Bytes != c.in.sent {
				p.t.Errorf("client %s of %s: closed for %s with %d bytes, want %s and %d", c.remote, c.listener, r.Reason, r.Bytes, reason, c.in.sent)
			}
		}
	})
	for _, c := range p.clients {
		p.compareOne(c)
	}
}

func (p *proxying) compareOne(c *proxied) {
	for _, s := range []*stream{c.in, c.out} {
		if s.taken != s.sent {
			p.t.Errorf("%s of %s: got %d bytes, want %d", s.what, c.listener, s.taken, s.sent)
		}
	}
	if c.opens != 1 || c.closes != 1 {
		p.t.Errorf("client %s of %s: got %d opens and %d closes", c.remote, c.listener, c.opens, c.closes)
	}
	if c.listener != "recorded" {
		return
	}
	want := make([]byte, c.in.sent)
	_, _ = io.ReadFull(letters(c.in.seed), want)
	if !bytes.Equal(c.recorded.Bytes(), want) {
		p.t.Errorf("client %s: %d bytes are recorded, want the %d that it has sent", c.remote, c.recorded.Len(), len(want))
	}
}
