package server_test

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
)

// TestWithoutDescriptorsThoseWhoWaitAreRefused after a while, by the one that was kept for that;
// later ones are served again.
func TestWithoutDescriptorsThoseWhoWaitAreRefused(t *testing.T) {
	t.Parallel()
	var none atomic.Bool
	var f *servertest.Fixture
	f = servertest.New(t, func(cfg *config.Config) {
		cfg.Listeners[0].Limits.Refusal = config.Text("not now\r\n")
	}, servertest.Accept(func(fd int) (int, syscall.Sockaddr, error) {
		if none.Load() && f.Server.HoldsSpare() {
			return -1, nil, unix.EMFILE
		}
		return syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	}))
	f.Open()
	served := f.Greeted()
	none.Store(true)
	first, second := f.Client(), f.Client()
	first.Refused("not now\r\n")
	second.Refused("not now\r\n")
	awaitRefused(t, f, 2)
	f.Server.Report(0)
	f.Log.Await(t, " descriptors=2 ")
	none.Store(false)
	// A client that comes while others are refused is refused, too.
	servertest.Eventually(t, func() bool {
		banner := make([]byte, len(f.Banner))
		_, err := io.ReadFull(f.Client(), banner)
		return err == nil && string(banner) == f.Banner
	}, func() { t.Error("nobody is let in any more") })
	f.Log.Await(t, "accept works again")
	if !f.Server.HoldsSpare() {
		t.Error("no descriptor is kept for the next time")
	}
	served.Say("still here\n")
	f.AwaitRecords(": still here\n")
}

// descriptorLimit returns how many descriptors the process may have.
func descriptorLimit(t *testing.T) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(limit.Cur)
}

// affordable returns how many clients are served at once with cfg.
func affordable(f *servertest.Fixture, cfg config.Config) int {
	f.Server.SetLimits(cfg, nil)
	return f.Server.Capacity()
}

func TestDescriptorsAreCountedAgainstClients(t *testing.T) {
	f := servertest.New(t, nil)
	limit := descriptorLimit(t)
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
		{"proxy", func(cfg *config.Config) {
			cfg.Listeners[0].Service, cfg.Listeners[0].Model = config.ServiceProxy, "goroutine"
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := servertest.Config(c.change)
			cfg.Limits.Clients = limit // which is too much: some are ours
			got := affordable(f, cfg)
			if most := (limit - server.SparedDescriptors) / c.each; got > most || got < most/2 {
				t.Errorf("%d descriptors: got %d clients, want not quite %d", limit, got, most)
			}
			f.Log.Await(t, "there are too few descriptors for limits.clients")
			cfg.Limits.Clients = 3
			if got := affordable(f, cfg); got != 3 {
				t.Errorf("got %d clients, want the 3 of the configuration", got)
			}
		})
	}
}

// TestClientsAreNoDescriptorsOfOurs, however many each takes: with clients or without, the capacity
// and the advice are the same.
func TestClientsAreNoDescriptorsOfOurs(t *testing.T) {
	cfg := servertest.Config(servertest.ByProcess)
	cfg.Limits.Clients = descriptorLimit(t) // which is too much: some are ours
	f := servertest.New(t, servertest.ByProcess).Open()
	before := affordable(f, cfg)
	_, advice, _ := strings.Cut(f.Log.Line("there are too few descriptors", fmt.Sprintf(" clients=%d ", cfg.Limits.Clients)), "msg=")
	for range 5 {
		f.Greeted()
	}
	if after := affordable(f, cfg); after != before {
		t.Errorf("affordable: got %d clients, want %d as before", after, before)
	}
	if n := strings.Count(f.Log.String(), advice); n != 2 {
		t.Errorf("log: got %q %d times, want twice:\n%s", advice, n, f.Log)
	}
}

// TestAReloadMayComeWhileClientsAreShed, and while others are let in, at every listener: the race
// detector sees what they share.
func TestAReloadMayComeWhileClientsAreShed(t *testing.T) {
	t.Parallel()
	const rounds = 50
	f := servertest.NewWithFile(t, withOther).Open()
	f.OpenToo(1)
	var busy sync.WaitGroup
	for _, b := range f.Bindings {
		busy.Go(func() {
			for range rounds {
				if err := f.Server.Shed(b); err != nil {
					t.Error(err)
				}
			}
		})
		busy.Go(func() {
			for range rounds { // each is let in or refused
				_, _ = io.ReadFull(servertest.Dial(t, b.Listener.Addr.String(), nil), make([]byte, 1))
			}
		})
	}
	busy.Go(func() {
		for range rounds {
			for i, b := range f.Bindings {
				f.Server.Configure(b, f.Config.Listeners[i], 0)
			}
			f.Server.SetLimits(f.Config, f.Bindings)
			f.Server.Refresh()
		}
	})
	busy.Wait()
	if !f.Server.HoldsSpare() {
		t.Error("no descriptor is kept for the next time")
	}
}
