package daemon

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/counts"
	"tcpmux/daemon/metrics"
)

// apiStatus returns what the daemon is doing.
func (d *daemon) apiStatus() api.Status {
	s := api.Status{
		Version: d.version, PID: os.Getpid(), Started: d.started, Now: time.Now(), Phase: d.phase.word(),
		Config: api.Config{
			File: d.cfg.Path, Loaded: d.loaded, Differs: d.fault != nil, Faults: linesOf(d.fault), Reloads: d.reloads,
		},
		Survive:   api.Survive{On: d.handover.Survives(), Clients: d.srv.Surviving()},
		Clients:   d.srv.Clients(),
		Limit:     d.srv.Capacity(),
		Listeners: d.apiListeners(),
		Files:     d.apiFiles(),
		Problems:  d.problems(),
		Unready:   d.unready(),
	}
	if !s.Survive.On {
		s.Survive.Clients = 0
	}
	return s
}

// word returns the phase as the control socket says it.
func (p phase) word() string {
	switch p {
	case serving:
		return "serving"
	case draining:
		return "draining"
	}
	return "leaving"
}

// linesOf returns the lines of an error, and no line of nil.
func linesOf(err error) []string {
	if err == nil {
		return []string{}
	}
	return strings.Split(err.Error(), "\n")
}

// apiListeners returns the listeners, in the order of the configuration in force.
func (d *daemon) apiListeners() []api.Listener {
	all := []api.Listener{}
	byName := d.srv.Counts()
	for _, c := range d.cfg.Listeners {
		l := api.Listener{
			Name: c.Name, Addresses: []string{}, From: cmp.Or(c.Source, d.cfg.Path), Model: c.Model, Framing: c.Framing, Service: "record",
			Limit: c.Limits.Clients, Draining: d.srv.DrainingListener(c.Name), Counts: countsOf(byName[c.Name]),
			Rates: d.rates.of(c.Name),
		}
		if len(c.Exec) > 0 {
			l.Service = "exec"
		}
		if c.Record {
			l.File = d.records.of(c).Path()
		}
		if n := byName[c.Name]; n != nil {
			l.Clients = int(n.Clients.Load())
		}
		l.Addresses, l.Fault = d.ports.of(c.Name)
		all = append(all, l)
	}
	return all
}

// of returns where a listener listens, and why one of its addresses is not served.
func (ps *ports) of(name string) (addresses []string, fault string) {
	addresses = []string{}
	for _, p := range ps.all {
		if p.Listener.Name != name {
			continue
		}
		addresses = append(addresses, p.Listener.Addr.String())
		if p.unserved != nil && fault == "" {
			fault = p.unserved.err.Error()
		}
	}
	return addresses, fault
}

// countsOf returns the counts of a listener; nil has none.
func countsOf(n *counts.Listener) api.Counts {
	if n == nil {
		return api.Counts{Refused: map[string]int64{}}
	}
	return api.Counts{
		Visits: n.Visits.Load(), Silent: n.Silent.Load(), Records: n.Records.Load(), Bytes: n.Bytes.Load(),
		Acks: n.Acks.Load(), Refused: n.Refused.Snapshot(),
	}
}

// apiFiles returns the record files, without what the disk has to be asked for: a disk that hangs
// must not make Run hang too.
func (d *daemon) apiFiles() []api.File {
	all := []api.File{}
	for _, f := range d.records.all() {
		s := f.sink.State()
		file := api.File{
			Path: f.Path(), Listener: f.listener, Format: d.cfg.Record.Format, MinFree: d.cfg.Record.MinFree, Free: -1,
			Failing: s.Err != nil, Since: s.Since, Waiting: int64(s.Waiting),
			Written: f.counts.Written(), Synced: f.counts.Synced(), Troubles: f.conditions.list(),
		}
		if s.Err != nil {
			file.Error = withFileHint(s.Err).Error()
		}
		all = append(all, file)
	}
	return all
}

// diskState is what is known of files on disks. It is safe for concurrent use.
type diskState struct {
	asking sync.Mutex // held while the disk is asked
	mu     sync.Mutex
	known  map[string]diskFile
}

// diskFile is the size of a file and what is free on its file system.
type diskFile struct{ size, free int64 }

// diskPatience is how long an answer waits for the disk.
const diskPatience = 500 * time.Millisecond

// fill fills in what the disk knows of files: what it knew before while it does not answer.
func (s *diskState) fill(files []api.File) {
	done := make(chan struct{})
	if s.asking.TryLock() {
		paths := make([]string, len(files))
		for i := range files {
			paths[i] = files[i].Path
		}
		go func() {
			defer close(done)
			defer s.asking.Unlock()
			s.ask(paths)
		}()
		select {
		case <-done:
		case <-time.After(diskPatience):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range files {
		if known, ok := s.known[files[i].Path]; ok {
			files[i].Size, files[i].Free = known.size, known.free
		}
	}
}

func (s *diskState) ask(paths []string) {
	known := map[string]diskFile{}
	for _, path := range paths {
		info, err := os.Stat(path)
		var st unix.Statfs_t
		if path == config.Stdout || err != nil || unix.Statfs(path, &st) != nil {
			continue
		}
		known[path] = diskFile{info.Size(), int64(st.Bavail) * int64(st.Bsize)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
}

// list returns the conditions that last.
func (c *conditions) list() []string {
	all := []string{}
	for what, text := range conditionTexts {
		if c.present[what].Load() {
			all = append(all, text.status)
		}
	}
	return all
}

// problems returns what an administrator should know, the worst first.
func (d *daemon) problems() []string {
	all := append(d.records.failing(), d.records.troubles()...)
	all = append(all, d.ports.problems()...)
	if d.fault != nil {
		all = append(all, "configuration not loaded: "+linesOf(d.fault)[0])
	}
	if d.ports.rules.faulty() {
		all = append(all, "rules are not those of their file")
	}
	return append(all, d.controls.problems()...)
}

// problems returns why ports are not served.
func (ps *ports) problems() (all []string) {
	for _, p := range ps.all {
		if p.unserved != nil {
			all = append(all, p.Listener.String()+" is not served: "+p.unserved.err.Error())
		}
	}
	for _, err := range ps.unmatched {
		all = append(all, err.Error())
	}
	return all
}

// unready returns why the daemon should get no new clients.
func (d *daemon) unready() []string {
	all := []string{}
	if d.phase != serving {
		all = append(all, "the daemon is "+d.phase.String())
	}
	all = append(all, d.records.failing()...)
	for _, p := range d.ports.all {
		if p.unserved != nil {
			all = append(all, p.Listener.String()+" is not served: "+p.unserved.err.Error())
		}
	}
	return all
}

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

// rateWindow is over how many seconds rates are averages.
const rateWindow = 10

// rates remembers what was counted in the last seconds. The zero value remembers nothing.
type rates struct {
	samples []sample // the oldest first
}

// sample is what was counted at one time.
type sample struct {
	at     time.Time
	counts map[string]api.Rates // as totals, by listener
}

// note remembers what is counted now, once a second.
func (r *rates) note(now time.Time, all map[string]*counts.Listener) {
	if n := len(r.samples); n > 0 && now.Sub(r.samples[n-1].at) < statusInterval/2 {
		return
	}
	s := sample{now, make(map[string]api.Rates, len(all))}
	for name, n := range all {
		s.counts[name] = api.Rates{
			Visits: float64(n.Visits.Load()), Records: float64(n.Records.Load()), Bytes: float64(n.Bytes.Load()),
		}
	}
	if r.samples = append(r.samples, s); len(r.samples) > rateWindow+1 {
		r.samples = slices.Delete(r.samples, 0, 1)
	}
}

// of returns the averages of a listener.
func (r *rates) of(name string) api.Rates {
	if len(r.samples) < 2 {
		return api.Rates{}
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	a, b := first.counts[name], last.counts[name]
	if seconds <= 0 {
		return api.Rates{}
	}
	return api.Rates{Visits: (b.Visits - a.Visits) / seconds, Records: (b.Records - a.Records) / seconds, Bytes: (b.Bytes - a.Bytes) / seconds}
}
