package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/cmd/tcpmux-forward/observe"
	"tcpmux/daemon/record"
	"tcpmux/internal/await"
)

// session returns n messages of a session as lines of a record file.
func session(name string, n int) []byte {
	e := record.NewEncoder(record.JSON)
	e.Begin(&record.Source{Session: name, Listener: "tcpmux", Remote: "192.0.2.7:40312"}, time.Unix(1_700_000_000, 0))
	lines := e.Open(nil)
	for i := range n {
		raw := fmt.Appendf(nil, "message %d of %s", i, name)
		lines = e.Message(lines, &record.Message{Raw: raw, Offset: int64(i)})
	}
	return lines
}

// stored returns the data of all messages in the stream of a server, as lines.
func stored(t *testing.T, s *natstest.Server) string {
	t.Helper()
	var b strings.Builder
	for _, m := range natstest.All(t, s.Connect(), "TCPMUX") {
		b.Write(m.Data)
		b.WriteByte('\n')
	}
	return b.String()
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOnceDeliversWhatThereIs, each record once, and a second time nothing.
func TestOnceDeliversWhatThereIs(t *testing.T) {
	for _, version := range natstest.Versions() {
		t.Run(version, func(t *testing.T) {
			s := natstest.Start(t, version, natstest.Options{})
			path, _ := written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = \"web1\"", s.URL))
			records := session("a", 1000)
			put(t, filepath.Join(filepath.Dir(path), "records.log"), records)
			once := func(want string) {
				t.Helper()
				status, stdout, stderr := clitest.Outcome(t, program(t, "--once", "--config", path))
				if status != 0 || stdout != want || stderr != "" {
					t.Errorf("got status %d, %q and %q, want 0, %q and nothing", status, stdout, stderr, want)
				}
				if got := stored(t, s); got != string(records) {
					t.Errorf("got %d bytes in the stream, want %d, those of the file", len(got), len(records))
				}
			}
			once(fmt.Sprintf("1001 records, %d bytes delivered to TCPMUX, lag 0\n", len(records)))
			once("0 records, 0 bytes delivered to TCPMUX, lag 0\n")
			status, stdout, _ := clitest.Outcome(t, program(t, "status", "--config", path))
			if status != 1 || !strings.Contains(stdout, "Lag          none: all is delivered") {
				t.Errorf("status: got %d and %q, want that nothing runs and all is delivered", status, stdout)
			}
		})
	}
}

func TestFromDeliversArchivesOnce(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	path, _ := written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = \"web1\"", s.URL))
	dir := filepath.Dir(path)
	first, second := filepath.Join(dir, "old.log.2.gz"), filepath.Join(dir, "old.log.1")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(session("a", 50)) // a buffer takes everything
	_ = z.Close()
	put(t, first, b.Bytes())
	put(t, second, session("b", 50))
	want := string(session("a", 50)) + string(session("b", 50))
	for _, records := range []int{102, 0} {
		status, stdout, stderr := clitest.Outcome(t, program(t, "--config", path, "--json", "--from", first, second))
		var got api.Status
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 0 || got.Records != int64(records) {
			t.Errorf("got status %d, %s (%v) and %q, want 0 and %d records", status, stdout, err, stderr, records)
		}
		if got := stored(t, s); got != want {
			t.Errorf("got %q in the stream, want %q", got, want)
		}
	}
}

func TestLinesThatAreNoRecordsAreSkippedAndCounted(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	path, _ := written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = \"web1\"", s.URL))
	put(t, filepath.Join(filepath.Dir(path), "records.log"), append([]byte("no record\x1b[2J\n"), session("a", 1)...))
	status, stdout, stderr := clitest.Outcome(t, program(t, "--once", "--config", path))
	if status != 0 || !strings.HasPrefix(stdout, "2 records, ") || !strings.HasSuffix(stdout, ", lag 0, 1 line skipped as no records\n") {
		t.Errorf("got status %d and %q, want 0, 2 records and a line that is skipped", status, stdout)
	}
	if !strings.Contains(stderr, "a line is no record") || strings.Contains(stderr, "\x1b") {
		t.Errorf("got %q, want the line to be named, and escaped", stderr)
	}
	if got := stored(t, s); got != string(session("a", 1)) {
		t.Errorf("got %q in the stream, want the records", got)
	}
}

func TestForgetGivesUpWhatIsNotDelivered(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	path, _ := written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = \"web1\"", s.URL))
	file := filepath.Join(filepath.Dir(path), "records.log")
	lost := session("lost", 10)
	put(t, file, lost)
	status, stdout, stderr := clitest.Outcome(t, program(t, "--forget", "--config", path))
	want := fmt.Sprintf("%s: %d bytes given up\n%[2]d bytes given up in all; the delivery goes on with what is recorded from now on\n", file, len(lost))
	if status != 0 || stdout != want || stderr != "" {
		t.Errorf("got status %d, %q and %q, want 0 and %q", status, stdout, stderr, want)
	}
	kept := session("kept", 10)
	put(t, file, append(lost, kept...))
	status, _, stderr = clitest.Outcome(t, program(t, "--once", "--config", path))
	if got := stored(t, s); status != 0 || got != string(kept) {
		t.Errorf("got status %d, %q and %q in the stream, want 0 and %q", status, stderr, got, kept)
	}
}

// TestTheServiceDeliversAndGoesOnAfterAKill of itself.
func TestTheServiceDeliversAndGoesOnAfterAKill(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	path, state := written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = \"web1\"", s.URL))
	file, records := filepath.Join(filepath.Dir(path), "records.log"), []byte(nil)
	for i, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		records = append(records, session(fmt.Sprint(i), 500)...)
		put(t, file, records)
		cmd := program(t, "--config", path)
		log := started(t, cmd)
		idle := func() bool {
			got, err := observe.Ask(t.Context(), filepath.Join(state, "control"))
			return err == nil && got.State == api.Idle && got.Lag.Bytes == 0 && got.Records > 0
		}
		await.Until(t, idle, func() { t.Errorf("got log %q, want everything to be delivered", log) })
		status, stdout, stderr := clitest.Outcome(t, program(t, "status", "--config", path))
		if status != 0 || !strings.Contains(stdout, "All is well.") || stderr != "" {
			t.Errorf("status: got %d, %q and %q, want that all is well", status, stdout, stderr)
		}
		signalled(t, cmd, end)
		ends(t, cmd, map[syscall.Signal]int{syscall.SIGKILL: -1, syscall.SIGTERM: 0}[end])
	}
	if got := stored(t, s); got != string(records) {
		t.Errorf("got %d bytes in the stream, want %d, those of the file", len(got), len(records))
	}
}

func TestOnceShowsABarAtATerminal(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	const green = "\x1b[32m"
	for _, c := range []struct {
		name, term, noColor string
		bar, colour         bool
	}{{"in colour", "xterm", "", true, true}, {"NO_COLOR", "xterm", "1", true, false}, {"dumb", "dumb", "", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			t.Setenv("NO_COLOR", c.noColor)
			// A rate that lets the bar be drawn.
			path, _ := written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = %q\nrate = 500", s.URL, strings.ReplaceAll(c.name, " ", "")))
			put(t, filepath.Join(filepath.Dir(path), "records.log"), session(c.name, 500))
			x := clitest.Start(t, program(t, "--once", "--config", path))
			got := x.See("501 records, ")
			if strings.Contains(got, "deliver [") != c.bar || strings.Contains(got, green) != c.colour {
				t.Errorf("got %q, want a bar: %v, in colour: %v", got, c.bar, c.colour)
			}
			x.Ends(0)
		})
	}
}
