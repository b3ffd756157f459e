package sink

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/daemon/recordfile"
)

func BenchmarkSink(b *testing.B) {
	f, err := recordfile.Open(recordfile.Options{Path: b.TempDir() + "/r.log", Mode: 0o600, MaxSize: 1 << 30, MaxBackups: 1, Sync: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	s := New(f, func(err error) { b.Error(err) })
	line := append(bytes.Repeat([]byte("x"), 127), '\n')
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := s.give(line); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkSinkOnDisk measures group commit: records per second that are on disk, by the number of
// clients. TMPDIR=. gives it a disk.
func BenchmarkSinkOnDisk(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			f, err := recordfile.Open(recordfile.Options{Path: b.TempDir() + "/r.log", Mode: 0o600, MaxSize: 1 << 30, Sync: recordfile.SyncAlways})
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			s := New(f, func(err error) { b.Error(err) })
			line := append(bytes.Repeat([]byte("x"), 127), '\n')
			var left atomic.Int64
			left.Store(int64(b.N))
			var done sync.WaitGroup
			for range clients {
				done.Go(func() {
					for left.Add(-1) >= 0 {
						if err := s.give(line); err != nil {
							b.Error(err)
						}
					}
				})
			}
			done.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkGather is what a message passes in the sink apart from the write: ns/op is for a line of
// 128 bytes, by clients that each wait until theirs is written. Kept in a journal, as it is where
// clients outlive the process.
func BenchmarkGather(b *testing.B) {
	line := append(bytes.Repeat([]byte("x"), 127), '\n')
	for _, clients := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			s := New(io.Discard, func(err error) { b.Error(err) })
			j, err := NewJournal()
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			s.Keep(j)
			var done sync.WaitGroup
			for i := range clients {
				done.Go(func() {
					for range (b.N + i) / clients {
						if err := s.give(line); err != nil {
							b.Error(err)
						}
					}
				})
			}
			done.Wait()
			s.Close()
			s.Release()
		})
	}
}
