package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAProxyOutlivesRestarts: clients of a proxy, recorded or not, go through restarts, upgrades
// and reloads while much is carried both ways. None is closed, and each side gets what the other
// has sent. A kill then ends a client with a record, and closes its upstream.
func TestAProxyOutlivesRestarts(t *testing.T) {
	for name, record := range map[string]bool{"off the record": false, "recorded": true} {
		t.Run(name, func(t *testing.T) {
			p := proxying{keeper: newKeeper(t), dir: t.TempDir()}
			p.run(record)
		})
	}
}

// proxying is one such trial.
type proxying struct {
	*keeper
	dir string
	app string       // the address of the proxy
	ln  net.Listener // of the upstreams
}

const (
	proxiedClients = 6
	proxiedBytes   = 8 << 20 // each way
)

func (p *proxying) run(record bool) {
	var err error
	if p.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		p.t.Fatal(err)
	}
	defer p.ln.Close()
	p.app = p.socket("app")
	config := write(p.t, "tcpmux.toml", fmt.Sprintf(`
address = "127.0.0.1:0"
survive_after = "0s"
drain_timeout = "60s"
[record]
file = %q
[[listener]]
name = "app"
address = "127.0.0.1:0"
proxy = %q
record = %t
framing = "chunk"
`, filepath.Join(p.dir, "records.log"), p.ln.Addr(), record))
	d := p.start(config)
	p.hears("FDSTOREREMOVE=1", 1)
	idle, idleUp := p.dial()
	var carrying sync.WaitGroup
	for i := range proxiedClients {
		c, up := p.dial()
		carrying.Go(func() { p.send(c, byte(i)) })
		carrying.Go(func() { p.send(up, byte(100+i)) })
		carrying.Go(func() { p.take(up, byte(i)) })
		carrying.Go(func() { p.take(c, byte(100+i)) })
	}
	for i := range 5 {
		time.Sleep(time.Duration(20+i*15) * time.Millisecond) // any moment is right
		switch i {
		case 1:
			_ = d.cmd.Process.Signal(syscall.SIGHUP)
			continue
		case 3:
			d.upgradesWell()
			continue
		}
		_ = d.cmd.Process.Signal(syscall.SIGINT)
		if status := d.ends(); status != 0 {
			p.t.Fatalf("status: got %d, want 0: %s", status, d.seen)
		}
		d = p.start(config)
	}
	carrying.Wait()
	p.crosses(idle, idleUp)
	d.kill()
	d = p.start(config)
	for _, c := range []net.Conn{idle, idleUp} {
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
			p.t.Errorf("after a kill: got %q, %v, want the end", got, err)
		}
	}
	c, up := p.dial()
	_, _ = c.Close(), up.Close()
	if got := d.stops(p.dir); !strings.Contains(got, "close from "+idle.LocalAddr().String()+": crash, ") {
		p.t.Errorf("records: got %.2000q, want the end of %v", got, idle.LocalAddr())
	}
	if p.t.Failed() {
		p.t.Log(d.seen)
	}
}

// dial returns a client and its upstream, which have heard from each other: one that is still being
// connected is connected anew by the next daemon.
func (p *proxying) dial() (c, up *net.TCPConn) {
	client, err := net.DialTimeout("tcp", p.app, patience)
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := p.ln.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, one := range []net.Conn{client, server} {
		p.t.Cleanup(func() { _ = one.Close() })
		_ = one.SetDeadline(time.Now().Add(2 * time.Minute)) // it takes deadlines
	}
	p.crosses(client, server)
	return client.(*net.TCPConn), server.(*net.TCPConn)
}

// crosses has each side say something to the other.
func (p *proxying) crosses(a, b net.Conn) {
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		_, werr := io.WriteString(way[0], "hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(way[1], got); err != nil || werr != nil || string(got) != "hello" {
			p.t.Errorf("got %q, %v, %v, want hello", got, err, werr)
		}
	}
}

// send sends bytes that seed makes, and the end.
func (p *proxying) send(to *net.TCPConn, seed byte) {
	if _, err := io.CopyN(to, rand.NewChaCha8([32]byte{seed}), proxiedBytes); err != nil {
		p.t.Errorf("send %d: %v", seed, err)
	}
	_ = to.CloseWrite()
}

// take takes what send sends.
func (p *proxying) take(from io.Reader, seed byte) {
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, from)
	_, _ = io.CopyN(want, rand.NewChaCha8([32]byte{seed}), proxiedBytes)
	if err != nil || n != proxiedBytes || string(got.Sum(nil)) != string(want.Sum(nil)) {
		p.t.Errorf("take %d: got %d bytes and %v, want %d, all of them equal", seed, n, err, proxiedBytes)
	}
}
