package handover

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// TestNoTLSIsTakenForClearText, whenever the process before died, and whatever has got lost: only
// what nobody has touched begins anew, and what has left no sign of TLS goes on in clear text.
func TestNoTLSIsTakenForClearText(t *testing.T) {
	slots, err := state.New(10)
	if err != nil {
		t.Fatal(err)
	}
	defer slots.Close()
	entries, err := state.NewTLS(10)
	if err != nil {
		t.Fatal(err)
	}
	defer entries.Close()
	seen := make(map[fate]int)
	for i := range 1 << 11 {
		bit := func(n int) bool { return i>>n&1 == 1 }
		settings := &server.Settings{}
		if bit(0) { // the session began with TLS
			settings.TLS, settings.Listener.TLS = &tlsconn.Options{}, config.TLS{Certificate: "a"}
		}
		var slot *state.Slot
		if bit(1) {
			slot = slots.Take(1)
		}
		if bit(2) {
			slot.SetTLS()
		}
		if bit(3) {
			slot.Open(time.Now())
		}
		consumed, header := bit(9), bit(10)
		if header {
			slot.SetClient(netip.AddrPort{}, 20)
		}
		left := tlsLeft{marked: slot.TLS()}
		if bit(4) {
			left.entry = entries.Take(1)
			left.sound = bit(5)
		}
		k := kernelState{greeted: bit(6)}
		if consumed {
			k.consumed = 20
		}
		k.tls = tlsconn.State(i >> 7 & 3)
		got := fateOf(settings, slot, &k, &left, state.Named{}, true)
		seen[got]++
		signs := slot.TLS() || left.entry != nil || k.tls == tlsconn.Encrypting || k.tls == tlsconn.Partial
		name := fmt.Sprintf("TLS expected %v, slot %v, marked %v, opened %v, entry %v, sound %v, sent %v, consumed %d, header %v, kernel %v",
			bit(0), bit(1), slot.TLS(), !slot.Opened().IsZero(), left.entry != nil, left.sound, bit(6), k.consumed, header, k.tls)
		untouched := !bit(6) && slot.Opened().IsZero() && (!consumed || header && bit(1))
		want := vanishes
		switch {
		case !bit(0) && !signs && k.tls == tlsconn.Clear:
			want = goesOn
		case left.sound && k.tls == tlsconn.Encrypting:
			want = goesOnTLS
		case bit(0) && !signs && untouched:
			want = beginsAnew
		case bit(1) && bit(3):
			want = endsByLoss
		}
		if got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
		if slot.Free(); left.entry != nil {
			left.entry.Free()
		}
	}
	if len(seen) != 5 {
		t.Errorf("got %v, want all that there are", seen)
	}
	lost := &server.Settings{Settings: session.Settings{Listener: config.Listener{TLS: config.TLS{Certificate: "a"}}}}
	if got := fateOf(lost, nil, &kernelState{}, &tlsLeft{}, state.Named{}, true); got != vanishes {
		t.Errorf("a listener whose certificate is lost: got %d, want %d", got, vanishes)
	}
}
