package daemon

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

// TestWithoutDescriptorsThoseWhoWaitAreRefused after a while, by the one that was kept for that; later ones are served again.
func TestWithoutDescriptorsThoseWhoWaitAreRefused(t *testing.T) {
	t.Parallel()
	var none atomic.Bool
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Limits.Refusal = config.Text("not now\r\n") })
	d.accept = func(fd int) (int, syscall.Sockaddr, error) {
		if none.Load() && d.srv.spare.file != nil {
			return -1, nil, unix.EMFILE
		}
		return accept4(fd)
	}
	d.open()
	served := d.greeted()
	none.Store(true)
	first, second := d.client(), d.client()
	first.refused("not now\r\n")
	second.refused("not now\r\n")
	eventually(t, func() bool { return d.srv.refusals.count() == 2 }, func() { // who is refused hears of it first
		t.Errorf("refused: got %d, want 2", d.srv.refusals.count())
	})
	d.srv.refusals.tell(d.srv.log, 0)
	d.log.await(t, " descriptors=2 ")
	none.Store(false)
	eventually(t, func() bool { // who comes while others are still refused is, too
		banner := make([]byte, len(d.banner))
		_, err := io.ReadFull(d.client(), banner)
		return err == nil && string(banner) == d.banner
	}, func() { t.Error("nobody is let in any more") })
	d.log.await(t, "accept works again")
	d.srv.spare.mu.Lock()
	if d.srv.spare.file == nil {
		t.Error("no descriptor is kept for the next time")
	}
	d.srv.spare.mu.Unlock()
	served.say("still here\n")
	d.records(": still here\n")
}

func TestDescriptorsAreCountedAgainstClients(t *testing.T) {
	d := newDesk(t, nil)
	limit := descriptorLimit()
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		each   int
	}{
		{"goroutine", func(cfg *config.Config) { cfg.Listeners[0].Model = "goroutine" }, 1},
		{"process", func(cfg *config.Config) { cfg.Listeners[0].Model = "process" }, 3},
		{"program", func(cfg *config.Config) {
			cfg.Listeners[0].Exec = []string{"/bin/true"}
			cfg.Listeners[0].Record = false
		}, 3},
		{"program of a recorded client", func(cfg *config.Config) { cfg.Listeners[0].Exec = []string{"/bin/true"} }, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := defaults(c.change)
			cfg.Limits.Clients = limit // which is too much: some are ours
			got := d.srv.affordable(cfg)
			if most := (limit - sparedDescriptors) / c.each; got > most || got < most/2 {
				t.Errorf("%d descriptors: got %d clients, want not quite %d", limit, got, most)
			}
			d.log.await(t, "there are too few descriptors for limits.clients")
			cfg.Limits.Clients = 3
			if got := d.srv.affordable(cfg); got != 3 {
				t.Errorf("got %d clients, want the 3 of the configuration", got)
			}
		})
	}
}

// TestClientsAreNoDescriptorsOfOurs, however many each takes: with clients or without, the capacity and the advice are the same.
func TestClientsAreNoDescriptorsOfOurs(t *testing.T) {
	cfg := defaults(byProcess)
	cfg.Limits.Clients = descriptorLimit() // which is too much: some are ours
	d := newDesk(t, byProcess).open()
	before := d.srv.affordable(cfg)
	_, advice, _ := strings.Cut(d.log.line("there are too few descriptors", fmt.Sprintf(" clients=%d ", cfg.Limits.Clients)), "msg=")
	for range 5 {
		d.greeted()
	}
	if after := d.srv.affordable(cfg); after != before {
		t.Errorf("affordable: got %d clients, want %d as before", after, before)
	}
	if n := strings.Count(d.log.String(), advice); n != 2 {
		t.Errorf("log: got %q %d times, want twice:\n%s", advice, n, d.log)
	}
}

// TestAReloadMayComeWhileClientsAreShed, and while others are let in, at every listener: the race detector sees what they share.
func TestAReloadMayComeWhileClientsAreShed(t *testing.T) {
	t.Parallel()
	const rounds = 50
	cfg := defaults(func(cfg *config.Config) {
		cfg.Record.File = filepath.Join(t.TempDir(), "records.log")
		other := cfg.Listeners[0]
		other.Name = "other"
		cfg.Listeners = append(cfg.Listeners, other)
	})
	d := &daemon{cfg: cfg}
	if err := d.open(nil, new(safeBuffer)); err != nil {
		t.Fatal(err)
	}
	d.fail = func(err error) { t.Error(err) }
	for _, ln := range d.lns {
		d.start(ln)
	}
	defer func() {
		_ = d.srv.Shutdown(over())
		d.serving.Wait()
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	var busy sync.WaitGroup
	for _, ln := range d.lns {
		a, err := newAcceptor(d.srv, ln)
		if err != nil {
			t.Fatal(err)
		}
		busy.Go(func() {
			for range rounds {
				a.shed()
			}
		})
		busy.Go(func() {
			for range rounds { // each is let in or refused
				_, _ = io.ReadFull(dial(t, ln.addr.String(), nil), make([]byte, 1))
			}
		})
	}
	busy.Go(func() {
		for range rounds {
			if err := d.apply(t.Context(), cfg); err != nil {
				t.Error(err)
			}
		}
	})
	busy.Wait()
	if d.srv.spare.file == nil {
		t.Error("no descriptor is kept for the next time")
	}
}
