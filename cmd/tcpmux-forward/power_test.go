package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/cmd/tcpmux-forward/observe"
	"tcpmux/daemon/delivery"
	"tcpmux/internal/await"
)

// powerLosses is how often a trial has machines lose power.
const powerLosses = 10

// TestPowerLossLosesAndDoublesNothing has the machine with the records and that of the server lose
// power, each alone and both at once. The first keeps what was synced of its files, and any state;
// the second loses what it has acknowledged since some moment. Each record that is in the files at
// the end must be in the stream once, in order, byte for byte, and nothing else: so none is
// delivered that power can take back. POWER_SEED=N repeats a trial, as far as chance is the test's
// own.
func TestPowerLossLosesAndDoublesNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("POWER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range natstest.Versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			t.Logf("POWER_SEED=%d", seed)
			p := newPowerTrial(t, version, rand.New(rand.NewPCG(seed, 3)))
			p.run()
			if t.Failed() {
				t.Logf("the forwarder said:\n%s", p.log)
			}
		})
	}
}

// powerTrial is one such trial.
type powerTrial struct {
	killTrial
	dir, state string
	disk       *disk
	stop       func()  // the writer
	log        *output // of this run of the forwarder
	opened     int     // sessions so far
	written    [][]string
	lost       map[string]bool // of the lines that were written

	cut, emptied, unrotated, stores, said int
}

func newPowerTrial(t *testing.T, version string, rnd *rand.Rand) *powerTrial {
	p := &powerTrial{killTrial: killTrial{t: t, rnd: rnd, log: &tail{}}, written: make([][]string, len(listeners)), lost: map[string]bool{}}
	p.server = natstest.Start(t, version, natstest.Options{})
	p.nc = p.server.Connect(nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // it is killed
	makeStream(t, p.nc, version == natstest.Newest)
	p.dir = t.TempDir()
	p.state, p.config = filepath.Join(p.dir, "state"), filepath.Join(p.dir, "tcpmux.toml")
	text := fmt.Sprintf("[record]\nformat = \"json\"\nfile = %q\n[forward]\nservers = [%q]\nhost = \"web1\"\nstate = %q\n",
		filepath.Join(p.dir, listeners[0]+".log"), p.server.URL, p.state)
	for i, name := range listeners[1:] {
		text += fmt.Sprintf("[[listener]]\nname = %q\naddress = \"127.0.0.1:%d\"\nfile = %q\n", name, 2+i, filepath.Join(p.dir, name+".log"))
	}
	put(t, p.config, []byte(text))
	p.disk = newDisk(t, p.state, rand.New(rand.NewPCG(rnd.Uint64(), 4)))
	return p
}

func (p *powerTrial) run() {
	p.powerUp()
	defer func() { p.stop() }()
	for range powerLosses {
		p.awaitMore()
		store, sequence := p.copyStore()
		p.awaitAck(sequence)
		time.Sleep(time.Duration(p.rnd.IntN(60)) * time.Millisecond) // any moment is right
		switch p.rnd.IntN(3) {
		case 0:
			p.lose(true, "", sequence)
		case 1:
			p.lose(false, store, sequence)
		case 2:
			p.lose(true, store, sequence)
		}
	}
	p.seen = 0
	p.awaitMore()
	p.stop()
	p.kill()
	p.rest()
	p.compare(p.survivors())
	p.t.Logf("files that lost their end: %d, or everything: %d, rotations undone: %d, stores turned back: %d, and that said: %d",
		p.cut, p.emptied, p.unrotated, p.stores, p.said)
}

// powerUp starts the daemon and the forwarder, in any order.
func (p *powerTrial) powerUp() {
	starts := []func(){p.startWriter, func() {
		p.log = new(output)
		p.fwd = p.disk.starts(io.MultiWriter(p.log, p.killTrial.log), "--config", p.config)
	}}
	i := p.rnd.IntN(2)
	starts[i]()
	time.Sleep(time.Duration(p.rnd.IntN(100)) * time.Millisecond) // any moment is right
	starts[1-i]()
}

func (p *powerTrial) startWriter() {
	w := newKillWriter(p.t, p.dir, p.state, rand.New(rand.NewPCG(p.rnd.Uint64(), 2)))
	w.opened = p.opened
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		w.run(p.t, stop)
	}()
	p.stop = func() {
		close(stop)
		<-stopped
		p.opened, p.stop = w.opened, func() {}
		for i, lines := range w.written {
			p.written[i] = append(p.written[i], lines...)
		}
	}
}

// copyStore copies what the server has stored, and returns a sequence that is at or behind its last
// one.
func (p *powerTrial) copyStore() (path string, sequence uint64) {
	p.t.Helper()
	path = filepath.Join(p.t.TempDir(), "store")
	p.server.Pause()
	err := os.CopyFS(path, os.DirFS(filepath.Join(p.server.Dir, "store")))
	p.server.Continue()
	if err != nil {
		p.t.Fatal(err)
	}
	return path, p.last()
}

// last returns the last sequence of the stream.
func (p *powerTrial) last() (sequence uint64) {
	p.t.Helper()
	js, err := p.nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		p.t.Fatal(err)
	}
	await.Until(p.t, func() bool {
		info, err := js.StreamInfo("TCPMUX")
		if err == nil {
			sequence = info.State.LastSeq
		}
		return err == nil
	}, func() { p.t.Error("the server does not answer") })
	return sequence
}

// awaitAck waits until the forwarder knows that more than a sequence is stored.
func (p *powerTrial) awaitAck(sequence uint64) {
	p.t.Helper()
	await.Until(p.t, func() bool {
		s, err := observe.Ask(p.t.Context(), filepath.Join(p.state, "control"))
		return err == nil && s.Sequence > sequence
	}, func() { p.t.Errorf("nothing is acknowledged:\n%s", p.log) })
}

// lose has machines lose power: that with the records, and, if there is a copy of its store, that
// of the server. More than what was stored up to a sequence was acknowledged since the copy.
func (p *powerTrial) lose(records bool, store string, sequence uint64) {
	p.t.Helper()
	said, must := strings.Count(p.log.String(), saysLost), store != ""
	first := p.rnd.IntN(2) == 0
	if store != "" && first {
		p.server.Kill()
	}
	if records {
		p.kill()
		p.stop()
		p.loseRecords()
		s, err := delivery.Load(p.state)
		said, must = 0, must && err == nil && s.Sequence > sequence
	}
	if store != "" {
		p.server.Kill()
		path := filepath.Join(p.server.Dir, "store")
		if err := errors.Join(os.RemoveAll(path), os.Rename(store, path)); err != nil {
			p.t.Fatal(err)
		}
		p.stores++
		p.seen = 0
	}
	if records && first {
		p.powerUp()
	}
	if store != "" {
		p.server.Restart()
	}
	if records && !first {
		p.powerUp()
	}
	if must {
		await.Until(p.t, func() bool { return strings.Count(p.log.String(), saysLost) > said },
			func() { p.t.Errorf("what the stream has lost is not said:\n%s", p.log) })
		p.said++
	}
}

// saysLost is what a forwarder says of a stream that has lost what it had acknowledged.
const saysLost = "the stream has lost records"
