package recordfile

import (
	"os"
	"testing"
)

// TestMain also runs the processes that tests need.
func TestMain(m *testing.M) {
	if path := os.Getenv(lockerOf); path != "" {
		os.Exit(lockUntilTheEnd(path))
	}
	if life := os.Getenv(giverVariable); life != "" {
		os.Exit(giveUntilKilled(life))
	}
	os.Exit(m.Run())
}
