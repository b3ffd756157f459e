// Package await has tests wait for what must come, without a clock: a test that passes does not
// depend on how fast the machine is.
package await

import (
	"testing"
	"time"
)

// attempts is how often Until looks, a millisecond apart. A machine that is too busy for the test
// is too busy to look, so no time is counted: a test that fails does so soon on one that is not.
const attempts = 10_000

// Until waits until holds returns true. If it never does, tell reports that and the test ends.
func Until(t testing.TB, holds func() bool, tell func()) {
	t.Helper()
	for i := 0; !holds(); i++ {
		if i == attempts {
			tell()
			t.FailNow()
		}
		time.Sleep(time.Millisecond)
	}
}
