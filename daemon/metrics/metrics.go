// Package metrics writes what the daemon counts in the text format of Prometheus. The labels are
// listeners, reasons, models and files of the configuration: nothing that a client can multiply.
package metrics

import (
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/metrics/prometheus"
)

// Histogram is how observations are spread.
type Histogram = prometheus.Histogram

// Snapshot is what Write writes. Totals are those since the process started.
type Snapshot struct {
	Status api.Status
	// Closed counts sessions that have ended, by listener and reason.
	Closed map[string]map[string]int64
	// Flagged counts messages that are not whole, by listener and flag.
	Flagged map[string]map[string]int64
	// Histograms by listener, nil where nothing was observed.
	MessageSize   map[string]Histogram // bytes of a message
	RecordDelay   map[string]Histogram // seconds from peek to record
	BatchRecords  map[string]Histogram // messages of a client that were written together
	HandshakeTime map[string]Histogram // seconds that TLS handshakes took
	// Handshakes counts those that have ended, by listener and how they did. Only listeners
	// whose clients speak TLS, or did, are in it.
	Handshakes map[string]map[string]int64
	TLSClients []TLSClients
	// Upstreams by listener: only those that are proxies, or were, are in it.
	Upstreams     map[string]Upstream
	Files         []File // in the order of Status.Files
	PartialMemory int64  // bytes of unfinished messages that are out of the kernel
	Workers       int    // processes of the model "process"
	Handover      Handover
	Reloads       Reloads
}

// TLSClients counts clients that speak TLS, by what they have in common.
type TLSClients struct {
	Listener string
	Version  string
	Kernel   bool // the kernel encrypts and decrypts
	Clients  int
	Survive  int // of these would outlive a crash
}

// File is what a record file has come to.
type File struct {
	Failures       int64   // times that writing began to fail
	FailingSeconds float64 // that it has failed in all
	Rotations      int64
	Removed        int64     // rotated files that retention has removed
	Backups        int       // rotated files that are kept
	WriteSize      Histogram // bytes of a write
	SyncTime       Histogram // seconds of an fdatasync(2)
}

// Handover is how clients of the previous process were taken over.
type Handover struct {
	Clients int     // 0: none waited
	Seconds float64 // that it took
}

// Reloads counts reloads by how they went.
type Reloads struct{ Done, Failed int64 }

// text is what is written.
type text struct{ prometheus.Text }

// Write writes a snapshot, and the runtime's own state.
func Write(w io.Writer, s *Snapshot) error {
	t := &text{}
	t.process(s)
	t.listeners(s)
	t.tls(s)
	t.certificates(s)
	t.upstreams(s)
	t.files(s)
	t.Runtime()
	_, err := w.Write(t.Bytes())
	return err
}

// process writes what holds for the whole process.
func (t *text) process(s *Snapshot) {
	st := &s.Status
	t.Family("gauge", "tcpmux_build_info", "The version of the daemon; always 1.")
	t.Sample(1, "version", st.Version, "goversion", runtime.Version())
	t.Family("gauge", "tcpmux_start_time_seconds", "When the process started, in seconds since the epoch.")
	t.Sample(prometheus.Seconds(st.Started))
	t.Family("gauge", "tcpmux_ready", "Whether /readyz would be 200.")
	t.Sample(prometheus.Truth(len(st.Unready) == 0))
	t.Family("gauge", "tcpmux_problems", "How many problems the status lists.")
	t.Sample(float64(len(st.Problems)))
	t.Family("gauge", "tcpmux_clients_limit", "How many clients are served at once.")
	t.Sample(float64(st.Limit))
	t.Family("gauge", "tcpmux_surviving_clients", "Clients that would outlive a crash of the process.")
	t.Sample(float64(st.Survive.Clients))
	t.Family("gauge", "tcpmux_partial_memory_bytes", "Memory of messages that have not ended.")
	t.Sample(float64(s.PartialMemory))
	t.Family("gauge", "tcpmux_workers", "Processes that serve clients of the model process.")
	t.Sample(float64(s.Workers))
	t.Family("gauge", "tcpmux_handover_clients", "Clients that this process went on with when it started.")
	t.Sample(float64(s.Handover.Clients))
	t.Family("gauge", "tcpmux_handover_seconds", "How long it took to go on with them.")
	t.Sample(s.Handover.Seconds)
	t.Family("counter", "tcpmux_reloads_total", "Reloads of the configuration, by result.")
	t.Sample(float64(s.Reloads.Done), "result", "done")
	t.Sample(float64(s.Reloads.Failed), "result", "failed")
	t.Family("gauge", "tcpmux_config_differs", "Whether the file differs from the configuration in force.")
	t.Sample(prometheus.Truth(st.Config.Differs))
}

// listeners writes what is known of each listener.
func (t *text) listeners(s *Snapshot) {
	all := s.Status.Listeners
	each := func(kind, name, help string, value func(l *api.Listener) float64) {
		t.Family(kind, name, help)
		for i := range all {
			t.Sample(value(&all[i]), "listener", all[i].Name, "model", all[i].Model)
		}
	}
	each("gauge", "tcpmux_clients", "Clients that are connected.", func(l *api.Listener) float64 { return float64(l.Clients) })
	each("gauge", "tcpmux_listener_up", "Whether the listener is served.", func(l *api.Listener) float64 { return prometheus.Truth(l.Fault == "") })
	each("gauge", "tcpmux_listener_draining", "Whether new clients are refused.", func(l *api.Listener) float64 { return prometheus.Truth(l.Draining) })
	each("counter", "tcpmux_visits_total", "Sessions that have begun.", func(l *api.Listener) float64 { return float64(l.Counts.Visits) })
	each("counter", "tcpmux_silent_visits_total", "Sessions that have ended without data.", func(l *api.Listener) float64 { return float64(l.Counts.Silent) })
	each("counter", "tcpmux_records_total", "Messages that were recorded.", func(l *api.Listener) float64 { return float64(l.Counts.Records) })
	each("counter", "tcpmux_bytes_total", "Bytes of messages that were recorded.", func(l *api.Listener) float64 { return float64(l.Counts.Bytes) })
	each("counter", "tcpmux_acks_total", "Acknowledgements that were sent.", func(l *api.Listener) float64 { return float64(l.Counts.Acks) })
	t.Family("counter", "tcpmux_refused_total", "Refused clients, by reason.")
	for i := range all {
		t.by("reason", all[i].Name, all[i].Counts.Refused)
	}
	t.Family("counter", "tcpmux_closed_total", "Sessions that have ended, by reason.")
	for i := range all {
		t.by("reason", all[i].Name, s.Closed[all[i].Name])
	}
	t.Family("counter", "tcpmux_broken_messages_total", "Messages that are not whole, by their flag.")
	for i := range all {
		t.by("flag", all[i].Name, s.Flagged[all[i].Name])
	}
	t.byListener(all, "tcpmux_message_bytes", "Sizes of messages.", s.MessageSize)
	t.byListener(all, "tcpmux_record_delay_seconds", "Time from the arrival of a message to its record, which is on disk then if sync is always.", s.RecordDelay)
	t.byListener(all, "tcpmux_batch_records", "Messages of a client that were written together.", s.BatchRecords)
}

// tls writes what is known of clients that speak TLS, if any may.
func (t *text) tls(s *Snapshot) {
	if len(s.Handshakes) == 0 && len(s.TLSClients) == 0 {
		return
	}
	all := s.Status.Listeners
	t.Family("counter", "tcpmux_tls_handshakes_total", "TLS handshakes that have ended, by how.")
	for i := range all {
		t.by("result", all[i].Name, s.Handshakes[all[i].Name])
	}
	t.byListener(all, "tcpmux_tls_handshake_seconds", "How long handshakes took that are done.", s.HandshakeTime)
	each := func(name, help string, value func(c *TLSClients) int) {
		t.Family("gauge", name, help)
		for i := range s.TLSClients {
			c := &s.TLSClients[i]
			t.Sample(float64(value(c)), "listener", c.Listener, "version", c.Version, "kernel", strconv.FormatBool(c.Kernel))
		}
	}
	each("tcpmux_tls_clients", "Clients that speak TLS, by its version, and whether the kernel encrypts and decrypts.", func(c *TLSClients) int { return c.Clients })
	each("tcpmux_tls_surviving_clients", "Those that would outlive a crash of the process.", func(c *TLSClients) int { return c.Survive })
}

// by writes what is counted by words, under a label.
func (t *text) by(label, listener string, counts map[string]int64) {
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		t.Sample(float64(counts[word]), "listener", listener, label, word)
	}
}

func (t *text) byListener(all []api.Listener, name, help string, of map[string]Histogram) {
	if len(of) == 0 {
		return
	}
	t.Family("histogram", name, help)
	for i := range all {
		if h, ok := of[all[i].Name]; ok {
			t.Histogram(h, "listener", all[i].Name)
		}
	}
}

// files writes what is known of each record file.
func (t *text) files(s *Snapshot) {
	each := func(kind, name, help string, value func(f *api.File, more *File) float64) {
		t.Family(kind, name, help)
		for i := range s.Status.Files {
			more := &File{}
			if i < len(s.Files) {
				more = &s.Files[i]
			}
			f := &s.Status.Files[i]
			t.Sample(value(f, more), "file", f.Path)
		}
	}
	each("gauge", "tcpmux_file_bytes", "Size of the record file.", func(f *api.File, _ *File) float64 { return float64(f.Size) })
	each("gauge", "tcpmux_file_free_bytes", "Free space on its file system; -1 if unknown.", func(f *api.File, _ *File) float64 { return float64(f.Free) })
	each("gauge", "tcpmux_file_failing", "Whether records cannot be written and clients wait.", func(f *api.File, _ *File) float64 { return prometheus.Truth(f.Failing) })
	each("gauge", "tcpmux_file_waiting_bytes", "Bytes of records that wait to be written.", func(f *api.File, _ *File) float64 { return float64(f.Waiting) })
	each("gauge", "tcpmux_file_last_write_seconds", "When it was last written, in seconds since the epoch.", func(f *api.File, _ *File) float64 { return prometheus.Seconds(f.Written) })
	each("gauge", "tcpmux_file_last_sync_seconds", "When it was last synced, in seconds since the epoch.", func(f *api.File, _ *File) float64 { return prometheus.Seconds(f.Synced) })
	each("gauge", "tcpmux_file_backups", "Rotated files that are kept.", func(_ *api.File, m *File) float64 { return float64(m.Backups) })
	each("gauge", "tcpmux_file_overdue", "Rotated files that stay only until they are delivered.", func(f *api.File, _ *File) float64 { return float64(f.Overdue) })
	each("gauge", "tcpmux_file_overdue_bytes", "Size of these.", func(f *api.File, _ *File) float64 { return float64(f.OverdueBytes) })
	each("counter", "tcpmux_file_failures_total", "How often writing began to fail.", func(_ *api.File, m *File) float64 { return float64(m.Failures) })
	each("counter", "tcpmux_file_failing_seconds_total", "How long writing has failed.", func(_ *api.File, m *File) float64 { return m.FailingSeconds })
	each("counter", "tcpmux_file_rotations_total", "Rotations.", func(_ *api.File, m *File) float64 { return float64(m.Rotations) })
	each("counter", "tcpmux_file_removed_total", "Rotated files that retention has removed.", func(_ *api.File, m *File) float64 { return float64(m.Removed) })
	t.byFile(s, "tcpmux_write_bytes", "Bytes of a write to the record file.", func(f *File) Histogram { return f.WriteSize })
	t.byFile(s, "tcpmux_sync_seconds", "Duration of a sync of the record file.", func(f *File) Histogram { return f.SyncTime })
}

func (t *text) byFile(s *Snapshot, name, help string, of func(*File) Histogram) {
	if len(s.Files) == 0 {
		return
	}
	t.Family("histogram", name, help)
	for i := range s.Files {
		t.Histogram(of(&s.Files[i]), "file", s.Status.Files[i].Path)
	}
}
