package daemon

import (
	"context"
	"log/slog"
	"sync/atomic"

	"tcpmux/daemon/recordfile"
)

// conditions tracks what is wrong with the record file although records are written. It is safe
// for concurrent use.
type conditions struct {
	log     *slog.Logger
	present [len(conditionTexts)]atomic.Bool
}

// conditionTexts are the messages about each condition: in the log when it begins and when it
// ends, and in the status line in between. An event, which has no duration, has only the first.
var conditionTexts = [...]struct {
	level                slog.Level
	begins, ends, status string
}{
	recordfile.Rotation: {slog.LevelWarn, "record file cannot be rotated, it grows",
		"record file is rotated again", "the record file cannot be rotated"},
	recordfile.Retention: {slog.LevelWarn, "rotated record files cannot be kept as configured",
		"rotated record files are kept as configured again", "rotated files are not kept as configured"},
	recordfile.Syncing: {slog.LevelError, "records cannot be synced, those written last may not survive a loss of power",
		"records are synced again", "records cannot be synced"},
	recordfile.Overdue: {slog.LevelWarn, "rotated record files stay beyond what is configured until they are delivered, see tcpmux-forward status",
		"no rotated record file waits any more to be delivered", "rotated files stay until they are delivered: see tcpmux-forward status"},
	recordfile.Clock:    {slog.LevelWarn, "rotated record files do not fit the clock", "", ""},
	recordfile.TornLine: {slog.LevelWarn, "record file did not end with a whole line", "", ""},
}

// note logs that a condition has begun, or with a nil err that it has ended.
func (c *conditions) note(what recordfile.Trouble, err error) {
	text := conditionTexts[what]
	if err == nil {
		c.present[what].Store(false)
		c.log.Info(text.ends)
		return
	}
	c.present[what].Store(text.status != "")
	c.log.Log(context.Background(), text.level, text.begins, "err", err)
}

// status returns the part of the status line that lists the conditions, each after a semicolon and
// followed by whose they are; "" if nothing is wrong.
func (c *conditions) status(whose string) (line string) {
	for what, text := range conditionTexts {
		if c.present[what].Load() {
			line += "; " + text.status + whose
		}
	}
	return line
}
