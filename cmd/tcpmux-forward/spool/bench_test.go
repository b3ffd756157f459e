package spool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tcpmux/daemon/record"
)

// BenchmarkFill reads records of 200 bytes.
func BenchmarkFill(b *testing.B) {
	path := filepath.Join(b.TempDir(), "records.log")
	const n = 100_000
	e := record.NewEncoder(record.JSON)
	var text []byte
	for i := range n {
		e.Begin(&record.Source{Listener: "lab", Session: fmt.Sprintf("8f3a-%x", i%1000), Remote: fmt.Sprintf("192.0.2.7:%d", 40000+i%1000)}, time.Unix(1_800_000_000, int64(i)*10_000))
		text = e.Message(text, &record.Message{Offset: int64(i), Raw: bytes.Repeat([]byte("x"), 64)})
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text) / n))
	b.ReportAllocs()
	var batch Batch
	var used time.Duration // of the processor, which others may use too
	s, left, began := (*Spool)(nil), 0, time.Duration(0)
	b.ResetTimer()
	for done := 0; done < b.N; {
		if left == 0 {
			b.StopTimer()
			s, left = Open(Options{Paths: []string{path}}), n
			if err := s.Fill(context.Background(), &batch, 1, 1); err != nil {
				b.Fatal(err)
			}
			left--
			began = cpuTime()
			b.StartTimer()
		}
		if err := s.Fill(context.Background(), &batch, 1000, 4<<20); err != nil {
			b.Fatal(err)
		}
		done += len(batch.Records)
		if left -= len(batch.Records); left == 0 || done >= b.N {
			used += cpuTime() - began
			_ = s.Close()
		}
	}
	b.ReportMetric(float64(b.N)/used.Seconds(), "records/cpu-s")
}

// cpuTime returns what this process has used of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
