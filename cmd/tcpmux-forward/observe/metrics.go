package observe

import (
	"runtime"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/daemon/metrics/prometheus"
)

// states are the values of the label state.
var states = []string{api.Connecting, api.Delivering, api.Idle, api.Blocked}

// Metrics returns what there is to know of source in the text format of Prometheus. The labels are
// states and record files of the configuration: nothing that a client of the daemon or a server can
// multiply.
func Metrics(source Source) []byte {
	t, s := new(prometheus.Text), source.Status()
	one := func(kind, name, help string, value float64) {
		t.Family(kind, "tcpmux_forward_"+name, help)
		t.Sample(value)
	}
	t.Family("gauge", "tcpmux_forward_build_info", "The version of tcpmux-forward; always 1.")
	t.Sample(1, "version", s.Version, "goversion", runtime.Version())
	one("gauge", "start_time_seconds", "When the process started, in seconds since the epoch.", prometheus.Seconds(s.Started))
	t.Family("gauge", "tcpmux_forward_state", "Whether the forwarder is in this state.")
	for _, state := range states {
		t.Sample(prometheus.Truth(s.State == state), "state", state)
	}
	one("gauge", "healthy", "Whether /healthz would be 200.", prometheus.Truth(source.Healthy() == nil))
	one("gauge", "ready", "Whether /readyz would be 200.", prometheus.Truth(source.Ready() == nil))
	one("gauge", "connected", "Whether there is a connection to a server.", prometheus.Truth(s.Server != ""))
	one("counter", "records_total", "Records that the stream has acknowledged.", float64(s.Records))
	one("counter", "bytes_total", "Bytes of record files that the stream has acknowledged.", float64(s.Bytes))
	one("gauge", "last_sequence", "Sequence of the last message that was acknowledged.", float64(s.Sequence))
	one("gauge", "last_ack_timestamp_seconds", "When a record was acknowledged last, in seconds since the epoch; 0 is never.", prometheus.Seconds(s.Acknowledged))
	one("gauge", "lag_bytes", "Bytes of record files, uncompressed, that are not delivered.", float64(s.Lag.Bytes))
	one("gauge", "lag_records", "Estimate of the records that are not delivered.", float64(s.Lag.Records))
	one("gauge", "lag_seconds", "Age of the oldest record that is not delivered; 0 if all are.", s.Lag.Seconds)
	one("counter", "connects_total", "Connections to a server.", float64(s.Connects))
	one("counter", "failures_total", "Attempts to connect or to publish that have failed.", float64(s.Failures))
	one("counter", "rollbacks_total", "How often the stream had lost records that it had acknowledged.", float64(s.Rollbacks))
	one("counter", "skipped_lines_total", "Lines of record files that are no records, and were not delivered.", float64(s.Skipped))
	files(t, s.Files)
	t.Runtime()
	return t.Bytes()
}

// files writes what is known of each record file.
func files(t *prometheus.Text, all []api.File) {
	if len(all) == 0 {
		return
	}
	t.Family("gauge", "tcpmux_forward_file_lag_bytes", "Bytes of a record file, and of those that it was rotated to, that are not delivered.")
	for _, f := range all {
		t.Sample(float64(f.Lag), "file", f.Path)
	}
	t.Family("gauge", "tcpmux_forward_file_failing", "Whether a record file cannot be read.")
	for _, f := range all {
		t.Sample(prometheus.Truth(f.Error != ""), "file", f.Path)
	}
}
