package main

import (
	"encoding/json"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/observe"
)

// fake is an observe.Source.
type fake struct{ status api.Status }

func (f fake) Status() api.Status { return f.status }
func (f fake) Healthy() error     { return nil }
func (f fake) Ready() error       { return nil }

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// hostile is what must not reach a terminal: an escape sequence, a line end, C1, a bidirectional
// control, and a line separator.
const hostile = "a\x1b[2J\r\nb\u009b31m\u202e\u2028\x00\x7f"

func busy() api.Status {
	return api.Status{
		Version: "0.3.0", Started: noon.Add(-76 * time.Hour), State: api.Delivering, Since: noon.Add(-time.Hour),
		Server: "tls://nats.example:4222", ServerVersion: "2.12.1", Stream: "TCPMUX", Host: "web1", Mode: "atomic", Sequence: 123456,
		Records: 1234567, Bytes: 98765432, Rate: 12.04, Lag: api.Lag{Bytes: 3 << 20, Records: 15000, Seconds: 187}, Acknowledged: noon.Add(-time.Second),
		LastError: "no route to host", LastErrorAt: noon.Add(-time.Hour), Connects: 2, Failures: 7,
		Files: []api.File{
			{Path: "/var/log/tcpmux/records.log", File: "/var/log/tcpmux/records-1.log.gz", Offset: 4096, Lag: 3 << 20},
			{Path: "/var/log/tcpmux/scanners.log", File: "/var/log/tcpmux/scanners.log", Offset: 77},
		},
	}
}

func TestStatusText(t *testing.T) {
	blocked := api.Status{
		Version: "0.3.0", Started: noon, Since: noon, State: api.Blocked, Error: "is this the right stream?", Stream: "TCPMUX", Rollbacks: 1, Skipped: 2,
		LastError: "is this the right stream?", Files: []api.File{{Path: "/a", Error: "permission denied"}},
	}
	for _, c := range []struct {
		name    string
		status  api.Status
		running bool
		want    string
	}{
		{"delivering", busy(), true, `tcpmux-forward 0.3.0, started 3d04h ago, delivering for 1h00m
All is well.

Server       tls://nats.example:4222, version 2.12.1
Stream       TCPMUX, mode atomic, last message 123456
Host         web1
Delivered    1234567 records, 94 MiB since the start; 12 records/s; the last one 1s ago
Lag          3 MiB, about 15000 records, the oldest 3m07s old
Connections  2, and 7 failed attempts
Last error   11:00:00: no route to host

  LAG  DELIVERED TO  STATE  FILE
3 MiB          4096  ok     /var/log/tcpmux/records.log
  in /var/log/tcpmux/records-1.log.gz
  0 B            77  ok     /var/log/tcpmux/scanners.log`},
		{"blocked", blocked, true, `tcpmux-forward 0.3.0, started 0s ago, blocked for 0s
PROBLEM: is this the right stream?
PROBLEM: /a cannot be read: permission denied

Server       none is connected
Stream       TCPMUX
Host         -
Delivered    0 records, 0 B since the start; 0 records/s; the last one never
Lag          none: all is delivered
Connections  0, and 0 failed attempts
Rollbacks    1: the stream had lost records that it had acknowledged
Skipped      2 lines that are no records: see the log

LAG  DELIVERED TO  STATE  FILE
0 B             0  ERROR  /a
  permission denied`},
		{"not running", api.Status{Stream: "TCPMUX", Host: "web1", Lag: api.Lag{Bytes: 100, Records: 1}}, false, `tcpmux-forward, not running
NOT RUNNING: what follows is what the state file and the record files say.

Stream       TCPMUX
Host         web1
Lag          100 B, about 1 record`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(statusText(&c.status, c.running, noon, false), "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestColoursSayNothing(t *testing.T) {
	s := busy()
	plain, coloured := strings.Join(statusText(&s, true, noon, false), "\n"), strings.Join(statusText(&s, true, noon, true), "\n")
	if coloured == plain {
		t.Error("got no colour, want some")
	}
	for _, c := range []text.Colour{text.Bold, text.Red, text.Green, text.Yellow, "0"} {
		coloured = strings.ReplaceAll(coloured, "\x1b["+string(c)+"m", "")
	}
	if coloured != plain {
		t.Errorf("got\n%s\nwant\n%s", coloured, plain)
	}
}

// poison sets every string below v to hostile, and gives slices an element.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Int64, reflect.Uint64:
		v.Set(reflect.ValueOf(7).Convert(v.Type()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		poison(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				poison(v.Field(i))
			}
		}
	}
}

// TestNothingHostileReachesATerminal fills every string with what must not.
func TestNothingHostileReachesATerminal(t *testing.T) {
	var s api.Status
	poison(reflect.ValueOf(&s).Elem())
	last := s
	last.Error = ""
	lines := append(statusText(&s, true, noon, false), statusText(&last, false, noon, false)...)
	lines = append(lines, statusLine(s))
	if n := strings.Count(strings.Join(lines, ""), `\x1b[2J`); n < 15 {
		t.Errorf("got it %d times, want what is hostile to be shown", n)
	}
	for _, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 || r >= 0x7f }) {
			t.Errorf("got %q, want printable ASCII", line)
		}
	}
}

// TestStatusAsksTheSocket of a forwarder that says what the test wants.
func TestStatusAsksTheSocket(t *testing.T) {
	for _, c := range []struct {
		name, state, err string
		status           int
		stderr           string
	}{
		{"delivering", api.Delivering, "", 0, ""},
		{"delivering, with a problem", api.Delivering, "permission denied", 1, "tcpmux-forward: delivering: permission denied\n"},
		{"idle", api.Idle, "", 0, ""},
		{"just started", api.Connecting, "", 0, ""},
		{"an outage", api.Connecting, "no route to host", 1, "tcpmux-forward: connecting: no route to host\n"},
		{"blocked", api.Blocked, "another stream", 1, "tcpmux-forward: blocked: another stream\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, state := written(t, `servers = ["nats://127.0.0.1:4222"]`)
			s := busy()
			s.State, s.Error = c.state, c.err
			defer observe.Start(fake{s}, slog.New(slog.DiscardHandler), filepath.Join(state, "control"), nil).Close()
			status, stdout, stderr := clitest.Outcome(t, program(t, "status", "--config", path))
			if status != c.status || stderr != c.stderr {
				t.Errorf("got status %d and %q, want %d and %q", status, stderr, c.status, c.stderr)
			}
			clitest.Contains(t, "stdout", stdout, c.state+" for ")
			if !strings.Contains(stdout, c.err) {
				t.Errorf("got %q, want %q in it", stdout, c.err)
			}
			status, stdout, _ = clitest.Outcome(t, program(t, "status", "--json", "--config", path))
			var got api.Status
			if err := json.Unmarshal([]byte(stdout), &got); err != nil || !reflect.DeepEqual(got, s) || status != c.status {
				t.Errorf("--json: got status %d and %s (%v), want %d and %+v", status, stdout, err, c.status, s)
			}
		})
	}
}

func TestStatusIsColouredAtATerminal(t *testing.T) {
	path, state := written(t, `servers = ["nats://127.0.0.1:4222"]`)
	defer observe.Start(fake{busy()}, slog.New(slog.DiscardHandler), filepath.Join(state, "control"), nil).Close()
	for _, c := range []struct {
		name, term, noColor string
		colour              bool
	}{{"in colour", "xterm", "", true}, {"NO_COLOR", "xterm", "1", false}, {"dumb", "dumb", "", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			t.Setenv("NO_COLOR", c.noColor)
			x := clitest.Start(t, program(t, "status", "--config", path))
			if got := x.See("scanners.log"); strings.Contains(got, "\x1b[") != c.colour {
				t.Errorf("got %q, want colour: %v", got, c.colour)
			}
			x.Ends(0)
		})
	}
}
