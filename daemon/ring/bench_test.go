package ring

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sockets are n entries of connections to be, which share one descriptor: to the queue they are n.
func sockets(b *testing.B, r *Ring, n int) []Entry {
	b.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	all := make([]Entry, n)
	for i := range all {
		r.Add(&all[i], fd, time.Now())
	}
	return all
}

func benchRing(b *testing.B) *Ring {
	b.Helper()
	r, err := New(time.Second)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	return r
}

// BenchmarkAdd is what a visit costs that is too short to be enlisted, by as many accept loops as
// -cpu says.
func BenchmarkAdd(b *testing.B) {
	r := benchRing(b)
	now := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		var e Entry
		for pb.Next() {
			r.Add(&e, 0, now)
			r.Retire(&e)
		}
	})
}

// BenchmarkEnlisted is what status asks for each client.
func BenchmarkEnlisted(b *testing.B) {
	r := benchRing(b)
	all := sockets(b, r, 1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Enlisted(&all[0])
		}
	})
}

// BenchmarkEnlistAll is what it takes to keep a connection: ns/client.
func BenchmarkEnlistAll(b *testing.B) {
	const n = 10000
	for b.Loop() {
		b.StopTimer()
		r := benchRing(b)
		sockets(b, r, n)
		b.StartTimer()
		if err := r.EnlistAll(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		r.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/client")
}

// BenchmarkMaintain is how long a round of maintenance takes, and so how long clients may wait for
// the ring, by how many connections it keeps: when nothing has changed, and when the one that was
// enlisted last was retired, for which the whole queue is sent once more.
func BenchmarkMaintain(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		for _, retired := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d kept, retired %v", n, retired), func(b *testing.B) {
				r := benchRing(b)
				sockets(b, r, n)
				if err := r.EnlistAll(); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					now := time.Now()
					if retired {
						b.StopTimer()
						one := sockets(b, r, 1)
						if err := r.EnlistAll(); err != nil {
							b.Fatal(err)
						}
						r.Retire(&one[0])
						now = now.Add(retiredAge + time.Minute)
						b.StartTimer()
					}
					if err := r.Maintain(now); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkOverdue is what the status line asks each second, where the queue has no room for those
// that are there: ns/client.
func BenchmarkOverdue(b *testing.B) {
	const n = 100000
	r := benchRing(b)
	all := make([]Entry, n)
	for i := range all {
		r.Add(&all[i], 0, time.Now().Add(-time.Hour))
	}
	r.full = true
	for b.Loop() {
		if got := r.Overdue(); got != n {
			b.Fatalf("got %d, want %d", got, n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/client")
}
