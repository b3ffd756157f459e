package servertest

import (
	"os"
	"runtime"
	"sync"
	"testing"
)

// LeavesNothing has clients visit at once, several times, which visit makes; every third breaks its
// connection off. It fails the test if a descriptor, a goroutine or a place of theirs stays.
func (f *Fixture) LeavesNothing(clients int, visit func() *Client) {
	f.T.Helper()
	round := func() {
		var visiting sync.WaitGroup
		for i := range clients {
			visiting.Go(func() {
				c := visit()
				if i%3 == 0 {
					_ = c.SetLinger(0)
				}
				_ = c.Close()
			})
		}
		visiting.Wait()
		f.AwaitClients(0)
	}
	round() // what is made once, is made
	fds, goroutines := descriptors(f.T), runtime.NumGoroutine()
	round()
	round()
	Eventually(f.T, func() bool { return runtime.NumGoroutine() <= goroutines }, func() {
		f.T.Errorf("goroutines: got %d, want %d", runtime.NumGoroutine(), goroutines)
	})
	Eventually(f.T, func() bool { return descriptors(f.T) <= fds }, func() {
		f.T.Errorf("descriptors: got %d, want %d", descriptors(f.T), fds)
	})
	f.AwaitPlaces(0)
}

// AwaitPlaces waits until n places are taken.
func (f *Fixture) AwaitPlaces(n int) {
	f.T.Helper()
	Eventually(f.T, func() bool { return f.Server.Places() == n }, func() {
		f.T.Errorf("places taken: got %d, want %d", f.Server.Places(), n)
	})
}

// descriptors returns how many the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
