package program

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/logging"
	"tcpmux/daemon/record"
)

// loggedLines returns the lines that a stderrLog logs of a program which writes text and ends, and
// how many it says that it has left out.
func loggedLines(t *testing.T, text string, all *logging.LineLimit) (lines []string, skipped int64) {
	t.Helper()
	var out bytes.Buffer
	source := record.Source{Listener: "ln", Remote: "192.0.2.1:5", Session: "s"}
	theirs, l, err := newStderrLog(slog.New(slog.NewJSONHandler(&out, nil)), &source, all)
	if err != nil {
		t.Fatal(err)
	}
	go l.run()
	_, err = theirs.WriteString(text)
	l.end() // a process that has left the program's group may still hold the other end
	_ = theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(&out); d.More(); {
		var r struct {
			Msg, Listener, Remote, Session, Line string
			Lines                                int64
		}
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.Listener != source.Listener || r.Remote != source.Remote || r.Session != source.Session {
			t.Errorf("got %+v, want the session's listener, remote and session", r)
		}
		if r.Msg == "program stderr" {
			lines = append(lines, r.Line)
		}
		skipped += r.Lines
	}
	return lines, skipped
}

func TestStderrLogCutsLines(t *testing.T) {
	long := strings.Repeat("x", stderrLine)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"one line", "one\n", []string{"one"}},
		{"no end", "one\ntwo", []string{"one", "two"}},
		{"CRLF", "one\r\n\r\ntwo\r\n", []string{"one", "", "two"}},
		{"as long as a line may be", long[1:] + "\n", []string{long[1:]}},
		{"longer", long + "yy\nz\n", []string{long, "yy", "z"}},
		{"much longer", long + long + "y", []string{long, long, "y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := loggedLines(t, c.text, logging.NewLineLimit(stderrBurst, time.Hour))
			if !slices.Equal(got, c.want) {
				t.Errorf("got %.20q, want %.20q", got, c.want)
			}
		})
	}
}

// TestStderrLogLimitsLines: those of one program, and those of all together.
func TestStderrLogLimitsLines(t *testing.T) {
	text := strings.Repeat("line\n", 2*stderrBurst)
	got, skipped := loggedLines(t, text, logging.NewLineLimit(4*stderrBurst, time.Hour))
	if n := len(got); n < stderrBurst || n+int(skipped) != 2*stderrBurst {
		t.Errorf("got %d lines and %d left out, want %d in all and %d at least", n, skipped, 2*stderrBurst, stderrBurst)
	}
	all := logging.NewLineLimit(3, time.Hour)
	got, _ = loggedLines(t, text, all)
	if len(got) != 3 || all.TakeSkipped() == 0 {
		t.Errorf("got %d lines, want the 3 that all programs together may write, and the others counted", len(got))
	}
}
