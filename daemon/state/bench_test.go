package state

import "testing"

func benchFile(b *testing.B) *File {
	b.Helper()
	f, err := New(1000)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return f
}

// BenchmarkSlot is what a message costs: it touches memory of its own client only.
func BenchmarkSlot(b *testing.B) {
	f := benchFile(b)
	b.RunParallel(func(pb *testing.PB) {
		s := f.Take(1)
		for i := int64(1); pb.Next(); i++ {
			s.Mark(Written{Offset: i, Records: i}, i)
			s.SetBusy(true)
			s.SetBusy(false)
			s.Count(Tally{Offset: i, Records: i})
		}
		s.Free()
	})
}

// BenchmarkTake is what a visit costs: it takes a slot and frees it.
func BenchmarkTake(b *testing.B) {
	f := benchFile(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.Take(1).Free()
		}
	})
}
