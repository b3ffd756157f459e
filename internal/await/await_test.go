package await

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// failing notes that a test was ended.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}

func (f *failing) FailNow() {
	f.failed = true
	runtime.Goexit()
}

func TestUntil(t *testing.T) {
	for _, c := range []struct {
		name   string
		holds  int // after how many looks
		looks  int
		failed bool
	}{
		{"at once", 1, 1, false},
		{"later", 100, 100, false},
		{"at last", attempts + 1, attempts + 1, false},
		{"never", attempts + 2, attempts + 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, looks, told := &failing{TB: t}, 0, false
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					Until(f, func() bool { looks++; return looks == c.holds }, func() { told = true })
				}()
				<-ended
				if looks != c.looks || f.failed != c.failed || told != c.failed {
					t.Errorf("got %d looks, failed %v, told %v, want %d and %v", looks, f.failed, told, c.looks, c.failed)
				}
			})
		})
	}
}
