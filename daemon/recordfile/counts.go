package recordfile

import (
	"sync/atomic"
	"time"

	"tcpmux/daemon/counts"
)

// Counts are what has happened to a record file, over all its rotations. The zero value is ready
// to use, from any goroutine.
type Counts struct {
	Rotations atomic.Int64
	Removed   atomic.Int64     // backups that retention has removed
	Backups   atomic.Int64     // that were there when retention last looked
	WriteSize counts.Histogram // bytes of a call of Write that succeeded
	SyncTime  counts.Histogram // nanoseconds of a sync, successful or not

	// Overdue are those of them that retention leaves only because they are not delivered, and
	// OverdueBytes is their size.
	Overdue, OverdueBytes atomic.Int64

	written, synced atomic.Int64 // Unix nanoseconds; 0: never
}

// uncounted is for files whose owner does not count.
var uncounted Counts

// counted returns where the file counts.
func (o *Options) counted() *Counts {
	if o.Counts == nil {
		return &uncounted
	}
	return o.Counts
}

// Written returns when Write last began to write what it wrote; the zero time if it never did.
func (c *Counts) Written() time.Time { return timeOf(c.written.Load()) }

// Synced returns when lines were last known to be on disk; the zero time if they never were.
func (c *Counts) Synced() time.Time { return timeOf(c.synced.Load()) }

func timeOf(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}

// datasync syncs an open file, and counts that.
func (c *Counts) datasync(out handle) error {
	began := time.Now()
	err := out.datasync()
	now := time.Now()
	c.SyncTime.Observe(int64(now.Sub(began)))
	if err == nil {
		c.synced.Store(now.UnixNano())
	}
	return err
}
