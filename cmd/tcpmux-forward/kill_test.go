package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/daemon/record"
	"tcpmux/internal/await"
)

// eachKills returns how often a trial kills the forwarder, and how often the server: the value of
// KILLS, or enough for each commit.
func eachKills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("KILLS")
	if text == "" {
		return 15
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("KILLS=%q: want a number from 1 on", text)
	}
	return n
}

// TestKillsLoseAndDoubleNothing kills the forwarder and the server with SIGKILL again and again, at
// random moments, while records are written to files that rotate and are compressed and removed.
// Each record must be in the stream once, in the order of its file, byte for byte. The forwarder
// has no more permissions than contrib/forward/README.md gives it. KILLS=100 makes the trial
// longer; KILL_SEED=N repeats it, as far as chance is the test's own.
func TestKillsLoseAndDoubleNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("KILL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		version string
		atomic  bool
	}{{natstest.Newest, true}, {"2.9", false}} {
		t.Run(fmt.Sprintf("%s atomic %v", c.version, c.atomic), func(t *testing.T) {
			t.Parallel()
			t.Logf("KILL_SEED=%d", seed)
			k := &killTrial{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), log: &tail{}}
			k.server = natstest.Start(t, c.version, natstest.Options{Config: accounts(t)})
			k.nc = k.server.Connect(admin, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
				nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // it is killed
			makeStream(t, k.nc, c.atomic)
			k.run()
			if t.Failed() {
				t.Logf("the forwarder said:\n%s", k.log)
			}
		})
	}
}

// killTrial is one such trial.
type killTrial struct {
	t      *testing.T
	rnd    *rand.Rand
	server *natstest.Server
	nc     *nats.Conn // of the administrator
	config string
	fwd    *exec.Cmd
	log    *tail
	seen   uint64 // the last sequence of the stream when it was looked at last
	moved  int    // after how many kills the stream was further than after the one before
}

func (k *killTrial) run() {
	state := k.configure()
	w := newKillWriter(k.t, filepath.Dir(k.config), state, rand.New(rand.NewPCG(k.rnd.Uint64(), 2)))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		w.run(k.t, stop)
	}()
	end := func() {
		select {
		case <-stopped:
		default:
			close(stop)
			<-stopped
		}
	}
	defer end()
	k.start()
	k.kills()
	end()
	k.kill()
	k.rest()
	k.compare(w)
}

// configure writes the configuration, and returns the directory of the state.
func (k *killTrial) configure() (state string) {
	dir := k.t.TempDir()
	state = filepath.Join(dir, "state")
	text := fmt.Sprintf("[record]\nformat = \"json\"\nfile = %q\n", filepath.Join(dir, listeners[0]+".log"))
	text += fmt.Sprintf("[forward]\nstate = %q\nkeep = \"0s\"\n%s", state, asWeb1(k.t, k.server.URL))
	for i, name := range listeners[1:] {
		text += fmt.Sprintf("[[listener]]\nname = %q\naddress = \"127.0.0.1:%d\"\nfile = %q\n", name, 2+i, filepath.Join(dir, name+".log"))
	}
	k.config = filepath.Join(dir, "tcpmux.toml")
	if err := os.WriteFile(k.config, []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
	return state
}

func (k *killTrial) start() {
	k.fwd = clitest.Program(k.t, built, "--config", k.config)
	k.fwd.Stderr = k.log
	if err := k.fwd.Start(); err != nil {
		k.t.Fatal(err)
	}
}

func (k *killTrial) kill() {
	_ = k.fwd.Process.Kill() // Wait tells if it was not that
	if err := k.fwd.Wait(); err == nil || k.fwd.ProcessState.Exited() {
		k.t.Fatalf("the forwarder has ended by itself: %v\n%s", err, k.log)
	}
}

// kills kills either side, in random order, at random moments: soon after the last kill, or when
// records have come through since.
func (k *killTrial) kills() {
	each := eachKills(k.t)
	sides := make([]bool, 2*each)
	for i := range each {
		sides[i] = true
	}
	k.rnd.Shuffle(len(sides), func(i, j int) { sides[i], sides[j] = sides[j], sides[i] })
	for _, forwarder := range sides {
		pause := time.Duration(k.rnd.IntN(100)) * time.Millisecond
		if k.rnd.IntN(3) == 0 {
			k.awaitMore()
			pause = time.Duration(k.rnd.IntN(15_000)) * time.Microsecond
		}
		time.Sleep(pause) // any moment is right
		if forwarder {
			k.kill()
			k.start()
		} else {
			k.server.Kill()
			time.Sleep(time.Duration(k.rnd.IntN(30)) * time.Millisecond)
			k.server.Restart()
		}
	}
}

// awaitMore waits until records have come through.
func (k *killTrial) awaitMore() {
	js, err := k.nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		k.t.Fatal(err)
	}
	before := k.seen
	await.Until(k.t, func() bool {
		info, err := js.StreamInfo("TCPMUX")
		if err == nil && info.State.LastSeq > before {
			k.seen = info.State.LastSeq
			k.moved++
			return true
		}
		time.Sleep(5 * time.Millisecond)
		return false
	}, func() { k.t.Errorf("no record comes through any more:\n%s", k.log) })
}

// rest delivers what is left.
func (k *killTrial) rest() {
	cmd := clitest.Program(k.t, built, "--config", k.config, "--once")
	if status, _, errs := clitest.Outcome(k.t, cmd); status != 0 {
		k.t.Fatalf("--once: got status %d, want 0: %s", status, errs)
	}
}

// compare compares what was written with what is in the stream.
func (k *killTrial) compare(w *killWriter) {
	got := map[string][]string{}
	parser := record.NewParser(record.JSON)
	all := natstest.All(k.t, k.nc, "TCPMUX")
	for _, m := range all {
		r, err := parser.Parse(m.Data)
		if err != nil {
			k.t.Fatalf("message %d: %v", m.Sequence, err)
		}
		offset := ""
		if r.Kind == record.KindMessage {
			offset = strconv.FormatInt(r.Offset, 10)
		}
		h := m.Header
		if h.Get("Tcpmux-Session") != r.Session || h.Get("Tcpmux-Remote") != r.Remote || h.Get("Tcpmux-Offset") != offset ||
			!strings.HasPrefix(m.Subject, "tcpmux.web1."+r.Listener+".") {
			k.t.Errorf("message %d: got subject %q and headers %v of %s", m.Sequence, m.Subject, h, m.Data)
		}
		got[r.Listener] = append(got[r.Listener], string(m.Data))
	}
	for i, name := range listeners {
		differ(k.t, name, got[name], w.written[i])
	}
	k.t.Logf("%d records, %d times seen on their way before a kill", len(all), k.moved)
}

// differ tells the first record that is lost, doubled or out of place.
func differ(t *testing.T, name string, got, want []string) {
	t.Helper()
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	if i == len(got) && i == len(want) && i > 0 {
		return
	}
	at := func(lines []string) string {
		if i < len(lines) {
			return fmt.Sprintf("%.200s", lines[i])
		}
		return "nothing"
	}
	t.Errorf("%s: got %d records, want %d; the one with number %d is\n%s\nwant\n%s", name, len(got), len(want), i, at(got), at(want))
}
