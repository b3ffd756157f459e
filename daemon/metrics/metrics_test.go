package metrics

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

// sample is a snapshot with something in each field, and hostile names.
func sample() *Snapshot {
	return &Snapshot{
		Status: api.Status{
			Version: "1.2.3", Started: time.Unix(1_700_000_000, 500_000_000), Limit: 100,
			Survive: api.Survive{On: true, Clients: 3}, Problems: []string{"a"}, Unready: []string{"b"},
			Listeners: []api.Listener{
				{Name: "plain", Model: "goroutine", Clients: 2, Counts: api.Counts{
					Visits: 7, Silent: 1, Records: 12, Bytes: 345, Acks: 6, Refused: map[string]int64{"rate": 3, "deny": 2}},
					TLS: &api.ListenerTLS{Expires: time.Unix(1_800_000_000, 0), Loaded: time.Unix(1_700_000_001, 0), Failures: 8}},
				{Name: "a\"b\\c\nd", Model: "process", Fault: "no", Draining: true},
			},
			Files: []api.File{{Path: "/x/records.log", Size: 9, Free: -1, Failing: true, Waiting: 4}},
		},
		Closed:      map[string]map[string]int64{"plain": {"eof": 4, "killed": 1}},
		MessageSize: map[string]Histogram{"plain": {Bounds: []float64{64, 1024}, Counts: []int64{5, 6, 1}, Sum: 3000}},
		RecordDelay: map[string]Histogram{"plain": {Bounds: []float64{0.001}, Counts: []int64{11, 1}, Sum: 0.25}},
		Files: []File{{Failures: 1, FailingSeconds: 2.5, Rotations: 3, Removed: 1, Backups: 2,
			WriteSize: Histogram{Bounds: []float64{4096}, Counts: []int64{1, 0}, Sum: 100},
			SyncTime:  Histogram{Bounds: []float64{0.01}, Counts: []int64{2, 1}, Sum: 0.5}}},
		Handshakes:    map[string]map[string]int64{"plain": {"done": 8, "plaintext": 2, "timeout": 0}},
		HandshakeTime: map[string]Histogram{"plain": {Bounds: []float64{0.001}, Counts: []int64{7, 1}, Sum: 0.125}},
		TLSClients:    []TLSClients{{"plain", "1.2", false, 2, 0}, {"plain", "1.3", true, 5, 4}},
		Upstreams: map[string]Upstream{"plain": {Sent: 21, Answered: 22, Connects: map[string]int64{"done": 3, "refused": 1},
			ConnectTime: Histogram{Bounds: []float64{0.001}, Counts: []int64{2, 1}, Sum: 0.75}}},
		PartialMemory: 1 << 20, Workers: 2, Handover: Handover{Clients: 5, Seconds: 0.125}, Reloads: Reloads{Done: 1, Failed: 2},
	}
}

func written(t *testing.T, s *Snapshot) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	got := written(t, sample())
	for _, want := range []string{
		"# HELP tcpmux_clients Clients that are connected.\n# TYPE tcpmux_clients gauge\ntcpmux_clients{listener=\"plain\",model=\"goroutine\"} 2\n",
		`tcpmux_start_time_seconds 1.7000000005e+09`,
		`tcpmux_ready 0`,
		`tcpmux_listener_up{listener="a\"b\\c\nd",model="process"} 0`,
		`tcpmux_records_total{listener="plain",model="goroutine"} 12`,
		"tcpmux_refused_total{listener=\"plain\",reason=\"deny\"} 2\ntcpmux_refused_total{listener=\"plain\",reason=\"rate\"} 3\n",
		`tcpmux_closed_total{listener="plain",reason="killed"} 1`,
		"tcpmux_message_bytes_bucket{listener=\"plain\",le=\"64\"} 5\ntcpmux_message_bytes_bucket{listener=\"plain\",le=\"1024\"} 11\n" +
			"tcpmux_message_bytes_bucket{listener=\"plain\",le=\"+Inf\"} 12\ntcpmux_message_bytes_sum{listener=\"plain\"} 3000\n" +
			"tcpmux_message_bytes_count{listener=\"plain\"} 12\n",
		"tcpmux_tls_handshakes_total{listener=\"plain\",result=\"done\"} 8\n" +
			"tcpmux_tls_handshakes_total{listener=\"plain\",result=\"plaintext\"} 2\n" +
			"tcpmux_tls_handshakes_total{listener=\"plain\",result=\"timeout\"} 0\n",
		"tcpmux_tls_handshake_seconds_sum{listener=\"plain\"} 0.125\ntcpmux_tls_handshake_seconds_count{listener=\"plain\"} 8\n",
		"tcpmux_tls_clients{listener=\"plain\",version=\"1.2\",kernel=\"false\"} 2\ntcpmux_tls_clients{listener=\"plain\",version=\"1.3\",kernel=\"true\"} 5\n",
		`tcpmux_tls_surviving_clients{listener="plain",version="1.3",kernel="true"} 4`,
		"tcpmux_proxy_bytes_total{listener=\"plain\",to=\"upstream\"} 21\ntcpmux_proxy_bytes_total{listener=\"plain\",to=\"client\"} 22\n",
		"tcpmux_proxy_connects_total{listener=\"plain\",result=\"done\"} 3\ntcpmux_proxy_connects_total{listener=\"plain\",result=\"refused\"} 1\n",
		`tcpmux_proxy_connect_seconds_sum{listener="plain"} 0.75`,
		`tcpmux_file_failing{file="/x/records.log"} 1`,
		`tcpmux_file_failing_seconds_total{file="/x/records.log"} 2.5`,
		`tcpmux_reloads_total{result="failed"} 2`,
		`tcpmux_tls_certificate_expiry_timestamp_seconds{listener="plain"} 1.8e+09`,
		`tcpmux_tls_certificates_loaded_timestamp_seconds{listener="plain"} 1.700000001e+09`,
		`tcpmux_tls_certificate_failures_total{listener="plain"} 8`,
		"# TYPE go_goroutines gauge\ngo_goroutines ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in\n%s", want, got)
		}
	}
}

// TestPromtoolAcceptsThem is the format as Prometheus itself checks it: names, types and help
// texts.
func TestPromtoolAcceptsThem(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v: as root, apt-get install prometheus", err)
	}
	for name, s := range map[string]*Snapshot{"full": sample(), "empty": {}} {
		cmd := exec.Command(path, "check", "metrics")
		cmd.Stdin = strings.NewReader(written(t, s))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: got %v and\n%s, want no complaint", name, err, out)
		}
	}
}

// TestPromtoolComplains shows that the check can fail.
func TestPromtoolComplains(t *testing.T) {
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader("# TYPE x counter\nx 1\n")
	if err := cmd.Run(); err == nil {
		t.Error("got no error for a counter without a help text")
	}
}

func TestWithoutTLSThereAreNoMetricsOfIt(t *testing.T) {
	if got := written(t, &Snapshot{}); strings.Contains(got, "tcpmux_tls_handshake") || strings.Contains(got, "tcpmux_tls_clients") {
		t.Errorf("got metrics of TLS in\n%s", got)
	}
}
