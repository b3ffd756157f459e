package session

import (
	"testing"

	"tcpmux/daemon/record"
)

// BenchmarkBuffers is what a session does to borrow a buffer and give it back, which all sessions
// share, by as many goroutines as -cpu says.
func BenchmarkBuffers(b *testing.B) {
	p := NewBuffers(func() Encoder { return record.NewEncoder(record.Text) })
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Put(p.Get())
		}
	})
}

// BenchmarkSpill is what a session does that holds the beginning of a message, and lets go of it.
func BenchmarkSpill(b *testing.B) {
	p := NewSpill()
	b.RunParallel(func(pb *testing.PB) {
		r := &Recorder{}
		for pb.Next() {
			p.hold(r, 20<<10)
			p.hold(r, 0)
		}
	})
}
