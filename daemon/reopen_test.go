package daemon

import (
	"testing"

	"tcpmux/daemon/control"
)

// TestAReloadThatWaitsForADiskDoesNotHideTheStatus: the goroutine that answers requests is the one
// that waits.
func TestAReloadThatWaitsForADiskDoesNotHideTheStatus(t *testing.T) {
	if most := control.ReadLimit / 4 * 3; recordPause > most {
		t.Errorf("a reload waits for %v, want at most %v of the %v that a request may take", recordPause, most, control.ReadLimit)
	}
}
