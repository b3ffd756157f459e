package daemon

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// scrape returns the metrics of the daemon with this control socket.
func scrape(t *testing.T, path string) string {
	t.Helper()
	var dialer net.Dialer
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: servertest.Patience}).Get("http://tcpmux/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("metrics: got %s, %q and error %v, want 200", resp.Status, text, err)
	}
	return string(text)
}

// samples returns the value of each sample; labels with a file are left out.
func samples(text string) map[string]float64 {
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		name := regexp.MustCompile(`,?file="[^"]*"`).ReplaceAllString(line[:at], "")
		all[strings.TrimSuffix(name, "{}")], _ = strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
	}
	return all
}

// awaitSamples returns once the metrics hold these values.
func awaitSamples(t *testing.T, path string, want map[string]float64) {
	t.Helper()
	got := map[string]float64{}
	servertest.Eventually(t, func() bool {
		all := samples(scrape(t, path))
		for name := range want {
			got[name] = all[name]
		}
		return maps.Equal(got, want)
	}, func() {
		t.Log(scrape(t, path))
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got[name] != want[name] {
				t.Errorf("%s: got %v, want %v", name, got[name], want[name])
			}
		}
	})
}

// unfilled are metrics that a daemon which goes well, is not new to its clients and has none of the
// model "process" leaves at 0. Those of a takeover are tested with the built binary.
var unfilled = []string{
	"tcpmux_tls_certificate_failures_total",
	"tcpmux_tls_surviving_clients", // the kernel here may not encrypt
	"tcpmux_ready", "tcpmux_listener_draining", "tcpmux_file_failing", "tcpmux_file_waiting_bytes", "tcpmux_workers",
	"tcpmux_handover_clients", "tcpmux_handover_seconds", "tcpmux_surviving_clients", "tcpmux_problems",
	"tcpmux_partial_memory_bytes", "tcpmux_config_differs", "go_gc_cycles_total", "tcpmux_file_overdue", "tcpmux_file_overdue_bytes",
}

// TestARunningDaemonFillsItsMetrics: after traffic, refusals, rotations, reloads and a disk without
// room, each of them has a value that is not 0, and Prometheus accepts them all.
func TestARunningDaemonFillsItsMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	second, programs := freeAddress(t), freeAddress(t)
	secured, secure := freeAddress(t), newTLSFixture(t)
	r := run(t, withControl(path), func(c *config.Config) {
		first := &c.Listeners[0]
		first.Ack, first.Banner, first.MaxMessage, first.Model = config.Text("ok\n"), config.Bytes{}, 20, "goroutine"
		more, program := *first, *first
		more.Name, more.Address = "more", []string{second}
		program.Name, program.Address, program.Exec = "program", []string{programs}, []string{"/bin/true"}
		devices := *first
		devices.Name, devices.Address = "devices", []string{secured}
		secure.config(&devices)
		c.Listeners = append(c.Listeners, more, program, devices)
		c.Record.MinFree, c.Record.MaxBackups, c.Record.Sync = 1<<60, 1, config.SyncAlways
	})
	c, ctx := console(t, path), t.Context()

	// Nothing can be written at first.
	conn := servertest.Dial(t, r.address(), &net.Dialer{})
	conn.Say("one\n")
	awaitSamples(t, path, map[string]float64{
		"tcpmux_file_failing": 1, "tcpmux_file_failures_total": 1, "tcpmux_ready": 0,
		`tcpmux_records_total{listener="tcpmux",model="goroutine"}`: 0,
	})
	r.reload(func(c *config.Config) error { c.Record.MinFree = 0; return nil }) // and one that fails
	conn.Hear("ok\n")
	for range 3 { // the first two leave a rotated file, of which one is removed
		conn.Say("two\n")
		conn.Hear("ok\n")
		if _, err := c.Rotate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	conn.Say("a message that is too long for one piece\n")
	conn.Hear("ok\n")
	visit := func(address string) {
		v := servertest.Dial(t, address, &net.Dialer{})
		_ = v.CloseWrite()
		v.HearEnd()
	}
	visit(second)
	// Again where the machine had no room for one more process.
	servertest.Eventually(t, func() bool {
		visit(programs)
		return samples(scrape(t, path))[`tcpmux_closed_total{listener="program",reason="exit 0"}`] > 0
	}, func() { t.Errorf("no program has ended well: %s\n%s", r.log, scrape(t, path)) })
	device, err := tls.Dial("tcp", secured, &tls.Config{RootCAs: secure.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	plain := servertest.Dial(t, secured, &net.Dialer{})
	plain.Say("PLAIN TEXT\n")
	_, _ = io.Copy(io.Discard, plain) // until the end, or a reset, as nobody has read the text
	if _, err := c.Drain(ctx, "more"); err != nil {
		t.Fatal(err)
	}
	servertest.Dial(t, second, &net.Dialer{}).HearEnd()
	_ = conn.CloseWrite()
	conn.HearEnd()
	awaitSamples(t, path, map[string]float64{
		`tcpmux_records_total{listener="tcpmux",model="goroutine"}`:          6,
		`tcpmux_bytes_total{listener="tcpmux",model="goroutine"}`:            57,
		`tcpmux_message_bytes_count{listener="tcpmux"}`:                      6,
		`tcpmux_message_bytes_sum{listener="tcpmux"}`:                        57,
		`tcpmux_broken_messages_total{listener="tcpmux",flag="cut"}`:         2,
		`tcpmux_silent_visits_total{listener="more",model="goroutine"}`:      1,
		`tcpmux_listener_draining{listener="more",model="goroutine"}`:        1,
		`tcpmux_closed_total{listener="devices",reason="plaintext"}`:         1,
		`tcpmux_tls_handshakes_total{listener="devices",result="done"}`:      1,
		`tcpmux_tls_handshakes_total{listener="devices",result="plaintext"}`: 1,
		`tcpmux_tls_handshakes_total{listener="devices",result="timeout"}`:   0,
		`tcpmux_tls_handshake_seconds_count{listener="devices"}`:             1,
		"tcpmux_file_failing":                   0,
		"tcpmux_file_failures_total":            1,
		"tcpmux_file_rotations_total":           3,
		"tcpmux_file_backups":                   1,
		"tcpmux_file_removed_total":             2,
		`tcpmux_reloads_total{result="done"}`:   1,
		`tcpmux_reloads_total{result="failed"}`: 1,
	})

	servertest.Dial(t, r.address(), &net.Dialer{})
	awaitSamples(t, path, map[string]float64{`tcpmux_clients{listener="tcpmux",model="goroutine"}`: 1})
	if names := r.empty(path); len(names) > 0 {
		t.Errorf("got %q without a value but 0", names)
	}
	promtool := exec.Command("promtool", "check", "metrics")
	promtool.Stdin = strings.NewReader(scrape(t, path))
	if out, err := promtool.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: got %v and\n%s, want no complaint (as root, apt-get install prometheus)", err, out)
	}
}

// empty returns the families of metrics that have no value but 0.
func (r *running) empty(path string) (names []string) {
	text := scrape(r.t, path)
	for _, family := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text, -1) {
		filled := regexp.MustCompile(`(?m)^` + family[1] + `(_sum)?(\{.*\})? -?[\d.]*[1-9]`)
		if !filled.MatchString(text) && !slices.Contains(unfilled, family[1]) {
			names = append(names, family[1])
		}
	}
	return names
}
