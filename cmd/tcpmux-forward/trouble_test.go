package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/internal/await"
)

// trouble is a forwarder that delivers what is written meanwhile.
type trouble struct {
	t      *testing.T
	config string
	writer *killWriter
	cmd    *exec.Cmd
	log    *output
	stop   func()
}

// newTrouble starts a forwarder that delivers to servers into a stream which it creates.
func newTrouble(t *testing.T, forward string, urls ...string) *trouble {
	t.Helper()
	dir := t.TempDir()
	x := &trouble{t: t, config: filepath.Join(dir, "tcpmux.toml")}
	text := fmt.Sprintf("[record]\nformat = \"json\"\nfile = %q\nmin_free = \"1MiB\"\n[forward]\nservers = [\"%s\"]\nhost = \"web1\"\ncreate = true\nstate = %q\nkeep = \"0s\"\n%s",
		filepath.Join(dir, listeners[0]+".log"), strings.Join(urls, `", "`), filepath.Join(dir, "state"), forward)
	for i, name := range listeners[1:] {
		text += fmt.Sprintf("[[listener]]\nname = %q\naddress = \"127.0.0.1:%d\"\nfile = %q\n", name, 2+i, filepath.Join(dir, name+".log"))
	}
	if err := os.WriteFile(x.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	x.writer = newKillWriter(t, dir, filepath.Join(dir, "state"), rand.New(rand.NewPCG(1, 2)))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		x.writer.run(t, stop)
	}()
	x.stop = func() {
		select {
		case <-stopped:
		default:
			close(stop)
			<-stopped
		}
	}
	t.Cleanup(x.stop)
	x.cmd = program(t, "--config", x.config)
	x.log = started(t, x.cmd)
	return x
}

// says waits until the log of the forwarder has a text.
func (x *trouble) says(text string) {
	x.t.Helper()
	await.Until(x.t, func() bool { return strings.Contains(x.log.String(), text) }, func() { x.t.Errorf("got log %q, want %q in it", x.log, text) })
}

// more waits until the stream has more than n messages, and returns how many. The servers may be
// away for a while.
func (x *trouble) more(nc *nats.Conn, n uint64) (last uint64) {
	x.t.Helper()
	js, err := nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		x.t.Fatal(err)
	}
	await.Until(x.t, func() bool {
		info, err := js.StreamInfo("TCPMUX")
		if err == nil {
			last = info.State.LastSeq
		}
		return last > n
	}, func() { x.t.Errorf("no record comes through: %s", x.log) })
	return last
}

// end ends everything, and compares the stream with what was written.
func (x *trouble) end(nc *nats.Conn) {
	x.t.Helper()
	x.stop()
	signalled(x.t, x.cmd, unix.SIGTERM)
	ends(x.t, x.cmd, 0)
	if status, _, errs := clitest.Outcome(x.t, program(x.t, "--config", x.config, "--once")); status != 0 {
		x.t.Fatalf("--once: got status %d, want 0: %s", status, errs)
	}
	(&killTrial{t: x.t, nc: nc}).compare(x.writer)
}

// TestAClusterLosesItsLeader again and again: nothing is lost or doubled, in either mode. A cluster
// of 2.10 may be of no use to anybody any more after that: then a new one is tried.
func TestAClusterLosesItsLeader(t *testing.T) {
	for _, version := range []string{natstest.Newest, "2.10"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for attempt := range 5 {
				usable := true
				t.Run(fmt.Sprint(attempt), func(t *testing.T) { usable = losesLeaders(t, version) })
				if usable || t.Failed() {
					return
				}
			}
			t.Error("no cluster has survived the loss of its leader")
		})
	}
}

// losesLeaders is one trial with a cluster. It reports whether that stays usable.
func losesLeaders(t *testing.T, version string) (usable bool) {
	servers := natstest.StartCluster(t, version, natstest.Options{})
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL)
	}
	x := newTrouble(t, "replicas = 3\n", urls...)
	nc := servers[0].Connect(nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	seen := x.more(nc, 0)
	for range 3 {
		leader := natstest.Leader(t, servers, "TCPMUX")
		leader.Kill()
		if leader != servers[0] { // else nobody can be asked
			if seen, usable = x.moreIfUsable(nc, seen); !usable {
				return false
			}
		}
		leader.Restart()
		if seen, usable = x.moreIfUsable(nc, seen); !usable {
			return false
		}
	}
	x.end(nc)
	return true
}

// moreIfUsable is more, unless the cluster serves nobody: other clients neither.
func (x *trouble) moreIfUsable(nc *nats.Conn, n uint64) (last uint64, usable bool) {
	x.t.Helper()
	js, err := nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		x.t.Fatal(err)
	}
	for looks := 1; ; looks++ {
		if info, err := js.StreamInfo("TCPMUX"); err == nil && info.State.LastSeq > n {
			return info.State.LastSeq, true
		}
		if looks%100 > 0 {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if !natstest.Places(nc) {
			x.t.Logf("the cluster places no stream")
			return n, false
		}
		if looks == 1000 {
			x.t.Fatalf("no record comes through: %s", x.log)
		}
	}
}

// TestTheDiskOfTheServerIsFull: records wait, the log says why, and all arrive when there is room.
func TestTheDiskOfTheServerIsFull(t *testing.T) {
	for _, version := range natstest.Versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, version, natstest.Options{JetStream: "max_file: 128M"})
			s.Stop()
			store := filepath.Join(s.Dir, "store")
			mount := func(flags uintptr, size string) {
				if err := unix.Mount("tmpfs", store, "tmpfs", flags, "size="+size); err != nil {
					t.Fatalf("mount: %v: run as root", err)
				}
			}
			mount(0, "512K")
			t.Cleanup(func() {
				s.Stop()
				_ = unix.Unmount(store, unix.MNT_DETACH)
			})
			s.Restart()
			x := newTrouble(t, "max_bytes = \"64MiB\"\n", s.URL)
			x.says("records cannot be delivered")
			mount(unix.MS_REMOUNT, "64M")
			s.Restart() // a server that has met a full disk stores nothing until then
			nc := s.Connect()
			x.more(nc, x.more(nc, 0))
			x.end(nc)
		})
	}
}

// TestSlowConsumersHoldNothingUp: a reader that takes nothing costs the delivery nothing.
func TestSlowConsumersHoldNothingUp(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{Config: "max_pending: 2M"})
	x := newTrouble(t, "", s.URL)
	nc := s.Connect()
	seen := x.more(nc, 0)
	js, err := s.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	defer close(held)
	if _, err := js.Subscribe("tcpmux.>", func(*nats.Msg) { <-held }, nats.BindStream("TCPMUX"), nats.ManualAck()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		seen = x.more(nc, seen)
	}
	x.end(nc)
}
