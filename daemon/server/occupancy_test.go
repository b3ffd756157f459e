package server_test

import (
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

func TestAPlaceIsFreeAgainWhenItsClientHasLeft(t *testing.T) {
	f := servertest.New(t, limiting(func(all *config.Limits, own *config.ListenerLimits) {
		all.ClientsPerSource, own.ClientsPerSource = 1, 1
	})).Open()
	for range 3 {
		c := f.Greeted()
		f.Client().Refused("")
		_ = c.Close()
		f.AwaitClients(0)
		f.AwaitPlaces(0)
	}
}

// withOther adds a listener that is as the first, but for its name.
func withOther(cfg *config.Config) {
	other := cfg.Listeners[0]
	other.Name = "other"
	cfg.Listeners = append(cfg.Listeners, other)
}

// TestTheSurplusOfAListenerWaits: it is not refused, and another listener is not held up by it.
func TestTheSurplusOfAListenerWaits(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) {
		withOther(cfg)
		cfg.Listeners[0].Limits.Clients = 1
	}).Open()
	other := f.OpenToo(1)
	first := f.Greeted()
	second := f.Client()
	second.Say("early\n")
	f.Log.Await(t, "as many clients as the listener's limits.clients allows, new ones wait")
	servertest.Dial(t, other.Listener.Addr.String(), nil).Hear(f.Banner)
	if n := f.Server.Clients(); n != 2 {
		t.Errorf("clients: got %d, want 2", n)
	}
	_ = first.Close()
	second.Hear(f.Banner)
	f.AwaitRecords(second.Addr() + ": early\n")
}

// TestAPlaceThatIsFreedAtOneListenerIsAnothers where all have so many together.
func TestAPlaceThatIsFreedAtOneListenerIsAnothers(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) {
		withOther(cfg)
		cfg.Limits.Clients = 1
	}).Open()
	other := f.OpenToo(1)
	for range 5 {
		first := f.Greeted()
		second := servertest.Dial(t, other.Listener.Addr.String(), nil)
		_ = first.Close()
		second.Hear(f.Banner)
		third := f.Client()
		_ = second.Close()
		third.Hear(f.Banner)
		_ = third.Close()
	}
}

func TestAListenersSocketsShareItsPlaces(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) {
		cfg.Listeners[0].Address = []string{"127.0.0.1:0", "127.0.0.1:0"}
		cfg.Listeners[0].Limits.ClientsPerSource = 1
	}).Open()
	other := f.OpenToo(1)
	f.Greeted()
	servertest.Dial(t, other.Listener.Addr.String(), nil).Refused("")
}

// TestAListenersOwnPlacesAreTakenOnWithTheNextDaemon: a client of the previous process counts at
// the listener, and gives the place back.
func TestAListenersOwnPlacesAreTakenOnWithTheNextDaemon(t *testing.T) {
	change := limiting(func(_ *config.Limits, own *config.ListenerLimits) { own.Clients = 1 })
	f, k := keeping(t, change)
	f.Open()
	c := f.Greeted()
	leave(t, f)
	next := k.successor(change)
	waiting := next.Client()
	next.Log.Await(t, "as many clients as the listener's limits.clients allows")
	if n := next.Server.Clients(); n != 1 {
		t.Errorf("clients: got %d, want 1", n)
	}
	_ = c.CloseWrite()
	c.HearEnd()
	waiting.Hear(next.Banner)
}
