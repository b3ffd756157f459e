package recordfile

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tcpmux/daemon/record"
)

// Options are the options of a File.
type Options struct {
	// Path is the name of the file. Its directory must exist. With Stdout, all other options
	// mean nothing.
	Path string
	// Mode is the permission bits of a file that is created, whatever the umask.
	Mode fs.FileMode
	// MaxSize is the largest size of the file in bytes. The file is rotated before a line that
	// would exceed it. Only a single line that is longer makes a file larger.
	MaxSize int64
	// Rotate is the period of local time after which a file is rotated too, unless it is empty:
	// before the first line that is written after its end, or by Tick. The period of a file
	// that Open finds, or Reopen with another Rotate, is that in which it was last written.
	Rotate Period
	// MaxBackups is how many rotated files are kept; 0 keeps all.
	MaxBackups int
	// MaxAge is how long rotated files are kept; 0 means no limit.
	MaxAge time.Duration
	// Compress makes rotated files be compressed with gzip.
	Compress bool
	// Undelivered returns what is not delivered yet. Those rotated files stay, whatever
	// MaxBackups and MaxAge say. It is called when a file is to be removed, in the background,
	// and every ten seconds while files stay. nil: all is delivered.
	Undelivered func() Undelivered
	// Sync is how long after a write fdatasync(2) is called at the latest, or SyncAlways or
	// SyncNever.
	Sync time.Duration
	// MinFree is the number of bytes that Write leaves free on the file system: with fewer, it
	// fails. Compression leaves them free too, and is tried again after the next rotation, or
	// an hour. With 0 the disk may run full.
	MinFree int64
	// Format is the format of the lines. A file with lines of the other format is rotated
	// before the first line is written.
	Format record.Format
	// Trouble is called with an error when something fails that does not lose lines yet, and
	// with nil when it works again. It may be called while the File is locked, so it must not
	// write to the File. nil ignores these errors.
	Trouble func(Trouble, error)

	// Counts is told what happens to the file. nil tells nobody.
	Counts *Counts

	disk  disk             // nil: kernel
	clock func() time.Time // nil: time.Now
	fd    int              // of standard output; 0: 1
}

// storage returns the disk of the file.
func (o Options) storage() disk {
	if o.disk == nil {
		return kernel{}
	}
	return o.disk
}

// now returns the time.
func (o *Options) now() time.Time {
	if o.clock == nil {
		return time.Now()
	}
	return o.clock()
}

// Special values of Options.Sync.
const (
	// SyncAlways makes Write return only when its lines are on disk.
	SyncAlways time.Duration = 0
	// SyncNever leaves it to the kernel when lines are written to disk, also when the file is
	// closed.
	SyncNever time.Duration = -1
)

// fail adds the operation and the file to an error; nil stays nil.
func (o *Options) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if o.Path == Stdout {
		return fmt.Errorf("%s standard output: %w", op, err)
	}
	return fmt.Errorf("%s record file %q: %w", op, o.Path, err)
}

// cause removes the operation and the path from an error, because fail will add them.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Trouble is something that fails while lines are still written.
type Trouble int

const (
	// Rotation failed: lines still go to the old file, which grows.
	Rotation Trouble = iota
	// Retention failed: backups are not removed or compressed as they should be.
	Retention
	// Syncing failed: lines that were written since the last sync may not survive a power
	// failure. Until it works again, Write waits for the disk, and fails if syncing fails.
	Syncing
	// TornLine is reported once if the file ended in the middle of a line when it was opened.
	// The error tells what was done.
	TornLine
	// Clock is reported if the clock seems to have jumped, or if names of backups are in the
	// future. Backups are kept in the order of rotation, and age as if the clock had not
	// jumped.
	Clock
	// Overdue backups are left only because they are not delivered (Options.Undelivered).
	Overdue
)

// tell calls Trouble.
func (o *Options) tell(what Trouble, err error) {
	if o.Trouble != nil {
		o.Trouble(what, err)
	}
}
