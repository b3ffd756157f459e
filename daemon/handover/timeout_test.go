package handover

import (
	"testing"
	"time"

	"tcpmux/daemon/systemd"
)

// TestATrialHasTimeForItsClients: what a program has to do before it serves grows with them.
func TestATrialHasTimeForItsClients(t *testing.T) {
	for _, c := range []struct {
		clients, files int
		want           time.Duration
	}{
		{0, 0, trialTimeout},
		{10, 8, trialTimeout},
		{16_000, 8, trialTimeout + 16*time.Second},
		{3_000, 1_008, trialTimeout + 4*time.Second},
	} {
		tk := Takeover{clients: c.clients, files: make([]systemd.Socket, c.files)}
		if got := tk.timeout(); got != c.want {
			t.Errorf("%d clients, %d descriptors: got %v, want %v", c.clients, c.files, got, c.want)
		}
	}
}
