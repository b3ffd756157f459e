package handover

import (
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// halves are a client whose TLS the kernel does, which has sent 100 bytes and named its listener
// before, and its upstream, as they were left.
type halves struct {
	c        connection
	up       half
	settings server.Settings
	k        kernelState
	left     tlsLeft
	name     state.Named
}

func newHalves(t *testing.T) *halves {
	t.Helper()
	slots, err := state.New(2)
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := state.NewPairs(2)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := state.NewTLS(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = slots.Close(), pairs.Close(), entries.Close() })
	h := &halves{
		settings: server.Settings{Settings: session.Settings{Listener: config.Listener{Service: config.ServiceProxy}, TLS: &tlsconn.Options{}}},
		k:        kernelState{tls: tlsconn.Encrypting, consumed: 4711},
		left:     tlsLeft{entry: entries.Take(1), sound: true, marked: true},
		name:     state.Named{Size: 7, By: 1, TLS: true},
	}
	h.c = connection{slot: slots.Take(1), pair: pairs.Take(1, state.Client), tls: h.left.entry}
	h.up = half{entry: pairs.Take(2, state.Upstream), joint: &joint{slot: slots.Take(2)}}
	h.c.slot.Count(state.Tally{Offset: 100})
	h.take(107)
	h.c.pair.Leave(state.Half{Mate: 2})
	h.up.entry.Leave(state.Half{Mate: 1})
	return h
}

// take has bytes be taken from the client's socket.
func (h *halves) take(n int) {
	*h.left.entry.Taking(n, 'x') = 'x'
	h.left.entry.Taken()
}

// TestAPairInTLSGoesOn only if it is known of each byte that was taken where it is.
func TestAPairInTLSGoesOn(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(h *halves)
		want   fate
		sound  bool
	}{
		{"as it was left", func(*halves) {}, goesOnTLS, true},
		{"the name came before the handshake", func(h *halves) { h.name.TLS = false; h.c.slot.Count(state.Tally{Offset: 107}) }, goesOnTLS, true},
		{"what is out of the socket is kept", func(h *halves) {
			h.take(5)
			h.c.slot.Shelve(100, []byte("12345"))
			h.c.pair.Leave(state.Half{Mate: 2, Moved: 5})
		}, goesOnTLS, true},
		{"it is not kept", func(h *halves) { h.take(5); h.c.pair.Leave(state.Half{Mate: 2, Moved: 5}) }, goesOnTLS, false},
		{"more was taken than is noted", func(h *halves) { h.take(1) }, goesOnTLS, false},
		{"less was taken", func(h *halves) { h.c.slot.Count(state.Tally{Offset: 101}) }, goesOnTLS, false},
		{"the keys are lost", func(h *halves) { h.left.sound = false }, goesOnTLS, false},
		{"the kernel has one key", func(h *halves) { h.k.tls = tlsconn.Partial }, goesOn, false},
		{"the kernel has none", func(h *halves) { h.k.tls = tlsconn.Clear }, goesOn, false},
		{"nor is any expected, but there were keys", func(h *halves) { h.k.tls, h.settings.TLS = tlsconn.Clear, nil }, goesOn, false},
		{"the listener is no proxy any more", func(h *halves) { h.settings.Listener.Service = config.ServiceRecord }, goesOn, false},
		{"in clear text", func(h *halves) { h.k.tls, h.settings.TLS, h.left = tlsconn.Clear, nil, tlsLeft{} }, goesOn, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHalves(t)
			c.change(h)
			got, sound := fateOfPair(&h.c, &h.up, &h.settings, &h.k, &h.left, h.name)
			if sound != c.sound || sound && got != c.want {
				t.Errorf("got %d, sound %v; want %d, %v", got, sound, c.want, c.sound)
			}
		})
	}
}

// TestNoUpstreamBeginsWithinAStreamInTLS: a client that has sent something had another upstream.
func TestNoUpstreamBeginsWithinAStreamInTLS(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(h *halves)
		want   bool
	}{
		{"it was a pair", func(*halves) {}, true},
		{"the pairs are lost", func(h *halves) { h.c.pair = nil }, true},
		{"it has only named its listener", func(h *halves) { h.c.pair, h.name.Size = nil, 107 }, false},
		{"the listener is no proxy", func(h *halves) { h.c.pair, h.settings.Listener.Service = nil, config.ServiceRecord }, false},
		{"before the handshake", func(h *halves) { h.c.pair, h.left, h.k.tls = nil, tlsLeft{}, tlsconn.Clear }, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHalves(t)
			c.change(h)
			if got := lostUpstream(&h.c, &h.settings, h.c.slot, &h.k, &h.left, h.name); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
