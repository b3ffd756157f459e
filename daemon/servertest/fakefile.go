package servertest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
)

// ErrDisk is an error that a disk may have.
var ErrDisk = errors.New("no space left on device")

// FakeFile is a file in memory that can be read while it is written, and fails or hangs on demand.
// The zero value is empty. It is safe for concurrent use.
type FakeFile struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	fault  error
	gate   chan struct{} // when not nil, Write waits until it is closed
	writes int
}

// Write implements io.Writer.
func (f *FakeFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	f.writes++
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault != nil {
		return 0, f.fault
	}
	return f.buf.Write(b)
}

// Fail makes writes return err from now on; nil lets them succeed again.
func (f *FakeFile) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = err
}

// Hang makes writes wait until resume is called, which may be called again.
func (f *FakeFile) Hang() (resume func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gate = gate
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.gate = nil
		close(gate)
	})
}

// Begun returns how many writes have begun.
func (f *FakeFile) Begun() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// String returns what was written.
func (f *FakeFile) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buf.String()
}

// Await waits until the file holds every text, and returns all that was written.
func (f *FakeFile) Await(t *testing.T, texts ...string) string {
	t.Helper()
	Eventually(t, func() bool { return HoldsAll(f.String(), texts) }, func() {
		t.Errorf("got %q, want %q in it", f.String(), texts)
	})
	return f.String()
}

// Line returns the first line that holds every text, without its end; "" if there is no such line.
func (f *FakeFile) Line(texts ...string) string {
	for l := range strings.Lines(f.String()) {
		if HoldsAll(l, texts) {
			return strings.TrimSuffix(l, "\n")
		}
	}
	return ""
}
