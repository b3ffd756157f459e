package stream

import (
	"testing"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/daemon/delivery"
)

func BenchmarkPublish(b *testing.B) {
	for _, m := range modes() {
		b.Run(m.String(), func(b *testing.B) {
			s := serve(b, m, natstest.Options{})
			c := connected(b, options(s))
			lastOf(b, c)
			batch := batchOf(0, 1000, delivery.Cursor{fileB.record(0).End}, fileA)
			b.ReportAllocs()
			for b.Loop() {
				publish(b, c, batch)
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "records/s")
		})
	}
}
