package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/internal/await"
)

// scraped returns the metrics at a control socket.
func scraped(t *testing.T, path string) string {
	t.Helper()
	var dialer net.Dialer
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	c := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: patience}
	resp, err := c.Get("http://tcpmux/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("metrics: got %s, %s and error %v, want 200", resp.Status, text, err)
	}
	return string(text)
}

// total adds up the samples of a metric whose labels have a text.
func total(text, name, label string) (sum int64) {
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], label) {
			value, _ := strconv.ParseFloat(m[2], 64) // what is no number is missing in the sum
			sum += int64(value)
		}
	}
	return sum
}

// verified is what verify counts in a record file.
type verified struct {
	Whole, Proven                      bool
	Sessions, Open                     int64
	Messages, Bytes, Repeated, Earlier int64
}

func verifiedIn(t *testing.T, path string) (v verified) {
	t.Helper()
	status, out, errs := clitest.Outcome(t, tcpmux(t, "verify", "--json", "--backups", path))
	if err := json.Unmarshal([]byte(out), &v); err != nil || status != 0 || !v.Whole || !v.Proven {
		t.Fatalf("verify: got status %d, %v, %s%s, want whole and proven records", status, err, out, errs)
	}
	return v
}

// TestTotalsAreWhatVerifyCounts, over five kills of a daemon whose clients flood it on two
// listeners, in two models: counters begin anew with each process, so what verify counts more than
// at the last kill is what this process has counted. Before each kill every client waits until all
// that it sent is acknowledged, which is when it is on disk.
func TestTotalsAreWhatVerifyCounts(t *testing.T) {
	t.Parallel()
	const clients, lost, kills, messages = 6, 2, 5, 500
	dir, m := t.TempDir(), newKeeper(t)
	path, control := filepath.Join(dir, "records.log"), filepath.Join(dir, "control")
	config := write(t, "tcpmux.toml", fmt.Sprintf(`
address = "127.0.0.1:0"
control = %q
banner = ""
ack = "+"
survive_after = "0s"
[record]
file = %q
format = "json"
sync = "always"
max_size = "400KiB"
max_backups = 0
[[listener]]
name = "own"
address = "127.0.0.1:0"
model = "process"
`, control, path))
	addresses := []string{m.address, m.socket("own")}
	var conns []*net.TCPConn
	before := verified{}
	for round := range kills + 1 {
		d := m.start(config)
		for i := range clients - len(conns) { // those of the round before go on
			conns = append(conns, dial(t, addresses[i%2]))
		}
		var flood sync.WaitGroup
		for i, conn := range conns {
			flood.Go(func() { floodAcked(t, conn, messages+i) })
		}
		flood.Wait()
		if round == 0 {
			m.hears(fmt.Sprintf("STATUS=%d clients", clients), 1) // from now on each is kept
		}
		for _, conn := range conns[:lost] {
			_ = conn.CloseWrite()
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("%v: got %v, want the end of the stream", conn.LocalAddr(), err)
			}
		}
		conns = conns[lost:]
		// The places are free, and so the closes written, some time after the clients see
		// the end; and acknowledgements are counted once they are sent.
		var text string
		await.Until(t, func() bool {
			text = scraped(t, control)
			return total(text, "tcpmux_clients", "") == clients-lost && total(text, "tcpmux_closed_total", `"eof"`) == lost &&
				total(text, "tcpmux_acks_total", "") == total(text, "tcpmux_records_total", "")
		}, func() { t.Errorf("round %d: got %s, want %d clients", round, text, clients-lost) })
		checkFormat(t, text)
		now := verifiedIn(t, path)
		for _, c := range []struct {
			what      string
			got, want int64
		}{
			{"records", total(text, "tcpmux_records_total", ""), now.Messages - before.Messages},
			{"bytes", total(text, "tcpmux_bytes_total", ""), now.Bytes - before.Bytes},
			{"acknowledgements", total(text, "tcpmux_acks_total", ""), now.Messages - before.Messages},
			{"observed sizes", total(text, "tcpmux_message_bytes_count", ""), now.Messages - before.Messages},
			{"sum of sizes", total(text, "tcpmux_message_bytes_sum", ""), now.Bytes - before.Bytes},
			// Those that the process before began are sessions of this one too.
			{"visits", total(text, "tcpmux_visits_total", ""), now.Sessions - before.Sessions + before.Open},
			{"closed", total(text, "tcpmux_closed_total", ""), now.Sessions - now.Open - (before.Sessions - before.Open)},
			{"clients", total(text, "tcpmux_clients", ""), now.Open},
			{"taken over", total(text, "tcpmux_handover_clients", ""), before.Open},
			{"repeated", now.Repeated, 0},
			// Of the clients that are closed one is of each listener. There may be a
			// process that waits for the next client.
			{"processes", min(total(text, "tcpmux_workers", ""), (clients-lost)/2), (clients - lost) / 2},
		} {
			if c.got != c.want {
				t.Errorf("round %d, %s: got %d, want %d as verify counts", round, c.what, c.got, c.want)
			}
		}
		if before = now; round == kills {
			d.stops(dir)
			break
		}
		d.kill()
	}
}

// floodAcked sends so many messages at once, and returns when all are acknowledged.
func floodAcked(t *testing.T, conn *net.TCPConn, messages int) {
	var sent sync.WaitGroup
	sent.Go(func() {
		w := bufio.NewWriter(conn)
		for n := range messages {
			fmt.Fprintf(w, "message %d %s\n", n, strings.Repeat("x", n%100)) // Flush has the error
		}
		if err := w.Flush(); err != nil {
			t.Errorf("%v: %v", conn.LocalAddr(), err)
		}
	})
	if _, err := io.ReadFull(conn, make([]byte, messages)); err != nil {
		t.Errorf("%v: %v, want an acknowledgement of each message", conn.LocalAddr(), err)
	}
	sent.Wait()
}

// checkFormat holds that Prometheus accepts the metrics of a daemon.
func checkFormat(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: got %v and\n%s, want no complaint (as root, apt-get install prometheus)", err, out)
	}
}
