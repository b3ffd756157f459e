// Package await has tests wait for what must come, without a clock: a test that passes does not
// depend on how fast the machine is.
package await

import (
	"testing"
	"time"
)

// attempts is how often Until looks. No time is counted, as a machine that is too busy for the test
// is too busy to look; and it is minutes, as it may be too busy for the test alone.
const attempts = 10_000

// pause returns how long Until waits before it looks again. To look may be work, such as to read a
// long file: it looks less often the longer it has waited.
func pause(looks int) time.Duration {
	return min(time.Millisecond+time.Duration(looks)*10*time.Microsecond, 20*time.Millisecond)
}

// Until waits until holds returns true. If it never does, tell reports that and the test ends.
func Until(t testing.TB, holds func() bool, tell func()) {
	t.Helper()
	for i := 0; !holds(); i++ {
		if i == attempts {
			tell()
			t.FailNow()
		}
		time.Sleep(pause(i))
	}
}
