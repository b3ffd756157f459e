package daemon

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/servertest"
)

// TestConditionsAreInLogAndStatus holds that each kind is told when it begins and when it ends,
// and shown between.
func TestConditionsAreInLogAndStatus(t *testing.T) {
	for _, c := range []struct {
		what        recordfile.Trouble
		level       string
		begins, now string
	}{
		{recordfile.Rotation, "WARN", "record file cannot be rotated, it grows", "; the record file cannot be rotated"},
		{recordfile.Retention, "WARN", "rotated record files cannot be kept as configured", "; rotated files are not kept as configured"},
		{recordfile.Overdue, "WARN", "rotated record files stay beyond what is configured until they are delivered",
			"; rotated files stay until they are delivered: see tcpmux-forward status"},
		{recordfile.Syncing, "ERROR", "records cannot be synced", "; records cannot be synced"},
		{recordfile.TornLine, "WARN", "record file did not end with a whole line", ""},
	} {
		t.Run(c.begins, func(t *testing.T) {
			log := &servertest.FakeFile{}
			all := &conditions{log: slog.New(slog.NewTextHandler(log, nil))}
			all.note(c.what, errors.New("why not"))
			if got := all.status(""); got != c.now {
				t.Errorf("status: got %q, want %q", got, c.now)
			}
			if line := log.Line(c.begins); !servertest.HoldsAll(line, []string{"level=" + c.level, `err="why not"`}) {
				t.Errorf("log: got %q, want it at level %s with its cause", line, c.level)
			}
			if c.now == "" {
				return // it is over when it is told
			}
			all.note(c.what, nil)
			if got := all.status(""); got != "" || strings.Count(log.String(), "\n") != 2 {
				t.Errorf("over: got status %q and log %s, want nothing and one line more", got, log)
			}
		})
	}
}
