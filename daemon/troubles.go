package daemon

import (
	"context"
	"log/slog"
	"sync/atomic"

	"tcpmux/daemon/record"
)

// troubles are what is wrong with the record file although records are written. Safe for concurrent use.
type troubles struct {
	log  *slog.Logger
	last [len(woes)]atomic.Bool
}

// woes are how each trouble is told: in the log when it begins and when it is over, and in the status line between.
var woes = [...]struct {
	level             slog.Level
	begins, ends, now string
}{
	record.Rotation:  {slog.LevelWarn, "record file cannot be rotated, it grows", "record file is rotated again", "the record file cannot be rotated"},
	record.Retention: {slog.LevelWarn, "rotated record files cannot be kept as configured", "rotated record files are kept as configured again", "rotated files are not kept as configured"},
	record.Syncing:   {slog.LevelError, "records cannot be synced, those written last may not survive a loss of power", "records are synced again", "records cannot be synced"},
	record.Clock:     {slog.LevelWarn, "rotated record files do not fit the clock", "", ""},
	record.TornLine:  {slog.LevelWarn, "record file did not end with a whole line", "", ""},
}

// note is told of a trouble, and with nil of its end.
func (t *troubles) note(what record.Trouble, err error) {
	w := woes[what]
	if err == nil {
		t.last[what].Store(false)
		t.log.Info(w.ends)
		return
	}
	t.last[what].Store(w.now != "")
	t.log.Log(context.Background(), w.level, w.begins, "err", err)
}

// String is what goes into the status line, each behind a semicolon; "" when nothing is wrong.
func (t *troubles) String() (line string) {
	for what, w := range woes {
		if t.last[what].Load() {
			line += "; " + w.now
		}
	}
	return line
}
