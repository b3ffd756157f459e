package session

import "testing"

// TestPlacesAreLeftBesidesHandshakes, however few clients are served: who never ends the handshake
// may not have them all.
func TestPlacesAreLeftBesidesHandshakes(t *testing.T) {
	for clients, want := range map[int]int{1: 1, 8: 6, 64: 48, 100: 64, 10_000: 2500} {
		var h Handshakes
		if h.Resize(clients); h.limit != want {
			t.Errorf("%d clients: got %d handshakes at a time, want %d", clients, h.limit, want)
		}
	}
}
