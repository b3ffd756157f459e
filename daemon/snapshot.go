package daemon

import (
	"slices"

	"tcpmux/config"
	"tcpmux/daemon/counts"
	"tcpmux/daemon/metrics"
)

// snapshot returns what the metrics are made of.
func (d *daemon) snapshot() *metrics.Snapshot {
	adopted := d.handover.Adopted()
	s := &metrics.Snapshot{
		Status:        d.apiStatus(),
		Closed:        map[string]map[string]int64{},
		Flagged:       map[string]map[string]int64{},
		MessageSize:   map[string]metrics.Histogram{},
		RecordDelay:   map[string]metrics.Histogram{},
		BatchRecords:  map[string]metrics.Histogram{},
		Handshakes:    map[string]map[string]int64{},
		HandshakeTime: map[string]metrics.Histogram{},
		PartialMemory: d.srv.PartialMemory(),
		Workers:       d.srv.Processes(),
		Handover:      metrics.Handover{Clients: adopted.Clients, Seconds: adopted.Took.Seconds()},
		Reloads:       metrics.Reloads{Done: int64(d.reloads - d.failed), Failed: int64(d.failed)},
	}
	for name, n := range d.srv.Counts() {
		s.Closed[name] = n.Closed.Snapshot()
		s.Flagged[name] = n.Flagged.Snapshot()
		s.MessageSize[name] = histogram(n.Size.Snapshot(), sizes, 1)
		s.RecordDelay[name] = histogram(n.Delay.Snapshot(), times, nanosecond)
		s.BatchRecords[name] = histogram(n.Batch.Snapshot(), numbers, 1)
	}
	d.addTLS(s)
	d.addUpstreams(s)
	for _, f := range d.records.all() {
		state, c := f.sink.State(), &f.counts
		s.Files = append(s.Files, metrics.File{
			Failures: state.Failures, FailingSeconds: state.Failed.Seconds(),
			Rotations: c.Rotations.Load(), Removed: c.Removed.Load(), Backups: int(c.Backups.Load()),
			WriteSize: histogram(c.WriteSize.Snapshot(), sizes, 1), SyncTime: histogram(c.SyncTime.Snapshot(), times, nanosecond),
		})
	}
	return s
}

// addTLS adds what is known of the listeners whose clients speak TLS, or did.
func (d *daemon) addTLS(s *metrics.Snapshot) {
	for name, n := range d.srv.Counts() {
		speaks := slices.ContainsFunc(d.cfg.Listeners, func(c config.Listener) bool { return c.Name == name && c.TLS.On() })
		if by := n.Handshakes.Snapshot(); speaks || len(by) > 0 {
			s.Handshakes[name] = n.HandshakeResults()
			s.HandshakeTime[name] = histogram(n.Handshake.Snapshot(), times, nanosecond)
		}
	}
	for _, c := range d.srv.TLSClients() {
		s.TLSClients = append(s.TLSClients, metrics.TLSClients(c))
	}
}

// addUpstreams adds what is known of the listeners that are proxies, or were.
func (d *daemon) addUpstreams(s *metrics.Snapshot) {
	s.Upstreams = map[string]metrics.Upstream{}
	for name, n := range d.srv.Counts() {
		proxies := slices.ContainsFunc(d.cfg.Listeners, func(c config.Listener) bool { return c.Name == name && c.Proxies() })
		if by := n.Upstream.Connects.Snapshot(); proxies || len(by) > 0 {
			s.Upstreams[name] = metrics.Upstream{
				Sent: n.Upstream.Sent.Load(), Answered: n.Upstream.Answered.Load(), Connects: n.ConnectResults(),
				ConnectTime: histogram(n.Upstream.Connect.Snapshot(), times, nanosecond),
			}
		}
	}
}

// nanosecond is one in seconds, the unit of metrics.
const nanosecond = 1e-9

// The bounds of histograms of metrics, as powers of two.
var (
	sizes   = []int{4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}    // 16 bytes to 16 MiB
	times   = []int{14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34} // 16 µs to 17 s
	numbers = []int{0, 1, 2, 3, 4, 6, 8, 10}                    // 1 to 1024
)

// histogram returns a histogram with these bounds, in another unit: one of the old is worth scale.
func histogram(h counts.Snapshot, bounds []int, scale float64) metrics.Histogram {
	m := metrics.Histogram{Sum: float64(h.Sum) * scale, Counts: make([]int64, len(bounds)+1)}
	for _, b := range bounds {
		m.Bounds = append(m.Bounds, float64(int64(1)<<b)*scale)
	}
	for _, b := range h.Buckets {
		i := slices.IndexFunc(bounds, func(bound int) bool { return b.Most <= 1<<bound })
		if i < 0 {
			i = len(bounds)
		}
		m.Counts[i] += b.Count
	}
	return m
}
