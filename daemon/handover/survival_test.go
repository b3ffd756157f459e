package handover

import (
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
)

// TestARestartWaitsForTheServiceManager to show that it stores clients, also right behind the
// start.
func TestARestartWaitsForTheServiceManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, works := range []bool{true, false} {
			h := &Handover{opt: Options{Config: config.Config{Survive: true}}, probed: make(chan struct{})}
			go func() {
				time.Sleep(time.Second)
				h.verified.Store(works)
				close(h.probed)
			}()
			if got := h.AwaitSurvival(); got != works {
				t.Errorf("got %v, want %v", got, works)
			}
		}
		if (*Handover)(nil).AwaitSurvival() || (&Handover{}).AwaitSurvival() {
			t.Error("clients outlive a daemon that keeps none")
		}
	})
}
