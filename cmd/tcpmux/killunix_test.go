package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
)

// TestKillsCloseNoClientOfAUnixSocket: clients of a unix socket go through kills at any moment,
// restarts, reloads and upgrades. None is closed, no line is lost, none is recorded twice, and what
// was acknowledged is recorded. KILLS=100 makes the trial longer.
func TestKillsCloseNoClientOfAUnixSocket(t *testing.T) {
	for seed, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			u := unixKilling{keeper: newKeeper(t), rnd: rand.New(rand.NewPCG(7, uint64(seed))), dir: t.TempDir(), stop: make(chan struct{})}
			u.run(model)
		})
	}
}

const unixTalkers = 8

// unixKilling is one such trial.
type unixKilling struct {
	*keeper
	rnd  *rand.Rand // of the test's goroutine
	dir  string
	path string // of the socket
	stop chan struct{}
}

func (u *unixKilling) run(model string) {
	u.path = filepath.Join(u.dir, "s")
	u.listens("front")
	records := filepath.Join(u.dir, "records.log")
	config := write(u.t, "tcpmux.toml", fmt.Sprintf(`
address = "127.0.0.1:0"
survive_after = "0s"
drain_timeout = "60s"
banner = "hello\n"
[record]
file = %q
format = "json"
[limits]
memory = "1MiB"
[[listener]]
name = "front"
address = "unix:%s"
model = %q
max_message = "40KiB"
ack = "{offset}\n"
`, records, u.path, model))
	d := u.start(config)
	u.hears("FDSTOREREMOVE=1", 1) // the daemon knows that there is a store
	var talkers [unixTalkers]unixTalker
	var talking sync.WaitGroup
	for i := range talkers {
		talkers[i] = unixTalker{t: u.t, stop: u.stop, name: fmt.Sprintf("client %d ", i), rnd: rand.New(rand.NewPCG(u.rnd.Uint64(), 0))}
		conn, err := net.DialTimeout("unix", u.path, patience)
		if err != nil {
			u.t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience)) // it takes deadlines
		talking.Go(func() { talkers[i].talk(conn.(*net.UnixConn)) })
	}
	u.hears(fmt.Sprintf("STATUS=%d clients", unixTalkers), 1)
	_ = d.cmd.Process.Signal(syscall.SIGINT) // from the next one on each client is kept
	if status := d.ends(); status != 0 {
		u.t.Fatalf("status: got %d, want 0: %s", status, d.seen)
	}
	d = u.start(config)
	for i := range eachKills(u.t, 16) {
		time.Sleep(time.Duration(u.rnd.IntN(60)) * time.Millisecond) // any moment is right
		switch {
		case i%8 == 3: // in the middle of a reload
			_ = d.cmd.Process.Signal(syscall.SIGHUP)
		case i%8 == 5: // in the middle of an upgrade
			_ = d.cmd.Process.Signal(syscall.SIGUSR2)
			time.Sleep(time.Duration(u.rnd.IntN(1500)) * time.Millisecond)
		case i%8 == 7:
			_ = d.cmd.Process.Signal(syscall.SIGINT)
			if status := d.ends(); status != 0 {
				u.t.Errorf("status: got %d, want 0: %s", status, d.seen)
			}
			d = u.start(config)
			continue
		}
		d.kill()
		d = u.start(config)
	}
	d.upgradesWell()
	close(u.stop)
	talking.Wait()
	d.stops(u.dir)
	if status, out, errs := clitest.Outcome(u.t, tcpmux(u.t, "verify", records)); status != 0 {
		u.t.Errorf("verify: got status %d, want 0:\n%s%s", status, out, errs)
	}
	u.compare(talkers[:])
	if u.t.Failed() {
		u.t.Log(d.seen)
	}
}

// listens keeps the listening unix socket of a listener.
func (u *unixKilling) listens(listener string) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: u.path, Net: "unix"})
	if err != nil {
		u.t.Fatal(err)
	}
	file, err := ln.File()
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _, _ = file.Close(), ln.Close() })
	u.sockets = append(u.sockets, storedFile{listener, file})
}

// compare compares what is recorded with what was sent.
func (u *unixKilling) compare(talkers []unixTalker) {
	k := killing{dir: u.dir, format: "json"}
	byName := map[string]*told{}
	for remote, told := range k.recorded(u.t, "records") {
		name := string(told.stream.Bytes()[:min(len("client 0 "), told.stream.Len())])
		if byName[name] != nil {
			u.t.Errorf("%q: got it from %s and from another", name, remote)
		}
		byName[name] = told
	}
	acked := int64(0)
	for i := range talkers {
		x := &talkers[i]
		k.compare(u.t, byName[x.name], x.name, x.sent.Bytes())
		acked += x.acked.Load()
	}
	if len(byName) != len(talkers) || acked == 0 {
		u.t.Errorf("got %d clients and %d acknowledgements, want %d and some", len(byName), acked, len(talkers))
	}
	u.t.Logf("%d lines were acknowledged", acked)
}

// unixTalker is a client that sends lines in pieces, some of them ahead of their acknowledgements.
type unixTalker struct {
	t    *testing.T
	stop chan struct{}
	name string
	rnd  *rand.Rand
	sent bytes.Buffer

	acked atomic.Int64
}

// talk goes on until it is to stop, and waits until the daemon has taken all.
func (x *unixTalker) talk(conn *net.UnixConn) {
	var hearing sync.WaitGroup
	hearing.Go(func() { x.hear(conn) })
	defer hearing.Wait()
	for n := 0; ; n++ {
		select {
		case <-x.stop:
			_ = conn.CloseWrite()
			return
		default:
		}
		line := fmt.Appendf(nil, "%s%d %s\n", x.name, n, strings.Repeat("x", x.rnd.IntN(1+x.rnd.IntN(20_000))))
		x.sent.Write(line)
		for len(line) > 0 {
			piece := line[:min(len(line), 1+x.rnd.IntN(5000))]
			if _, err := conn.Write(piece); err != nil {
				x.t.Errorf("%s: %v", x.name, err)
				return
			}
			if line = line[len(piece):]; x.rnd.IntN(3) == 0 {
				// The pace of a client, whose pieces come one by one.
				time.Sleep(time.Duration(x.rnd.IntN(4)) * time.Millisecond)
			}
		}
	}
}

// hear takes the banner and the acknowledgements: the offset of each line, in their order. After a
// kill those of a batch may come again.
func (x *unixTalker) hear(conn *net.UnixConn) {
	heard := bufio.NewReader(conn)
	banner, err := heard.ReadString('\n')
	if err != nil || !strings.HasPrefix(banner, "hello") {
		x.t.Errorf("%s: got %q, %v, want a banner", x.name, banner, err)
		return
	}
	last := int64(-1)
	for {
		ack, err := heard.ReadString('\n')
		if err == io.EOF && ack == "" {
			return
		}
		offset, perr := strconv.ParseInt(strings.TrimSuffix(ack, "\n"), 10, 64)
		if err != nil || perr != nil {
			x.t.Errorf("%s: got acknowledgement %q behind %d, %v", x.name, ack, last, err)
			return
		}
		if offset > last {
			last = offset
			x.acked.Add(1)
		}
	}
}

// TestAnUpgradeWithoutSystemdKeepsClientsOfUnixSockets, and the socket.
func TestAnUpgradeWithoutSystemdKeepsClientsOfUnixSockets(t *testing.T) {
	for _, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			dir, path := t.TempDir(), installed(t)
			socket := filepath.Join(dir, "s")
			cmd := tcpmux(t, "run", "--config", settings(t, dir, "unix:"+socket, "banner = \"hello\\n\"\nmodel = \""+model+"\"", `format = "json"`))
			cmd.Path = path
			d := converse(t, cmd, cmd.StderrPipe)
			d.hear("msg=ready ")
			dialUnix := func() net.Conn {
				conn, err := net.DialTimeout("unix", socket, patience)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				_ = conn.SetDeadline(time.Now().Add(patience))
				if _, err := io.ReadFull(conn, make([]byte, len("hello\n"))); err != nil {
					t.Fatal(err)
				}
				return conn
			}
			conn := dialUnix()
			for i := range 3 {
				_, _ = io.WriteString(conn, "one\nhalf")
				recorded(t, dir, fmt.Sprintf(`"offset":%d,"data":"one"`, i*13))
				d.upgradesWell()
				_, _ = io.WriteString(conn, " way\n")
				recorded(t, dir, fmt.Sprintf(`"offset":%d,"data":"half way"`, i*13+4))
				_ = dialUnix().Close()
			}
			_ = conn.(*net.UnixConn).CloseWrite()
			if heard, err := io.ReadAll(conn); err != nil || len(heard) > 0 {
				t.Errorf("got %q, %v, want the end", heard, err)
			}
			d.stops(dir)
		})
	}
}
