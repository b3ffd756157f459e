package record

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// FileOptions say where a File is and when it is rotated.
type FileOptions struct {
	// Path is the file's name. Its directory must be there.
	Path string
	// Mode is the permission bits of a file that has to be made, whatever the umask.
	Mode fs.FileMode
	// MaxSize is the size in bytes that the file does not exceed: it is rotated before a line that would. Only a single line
	// that is longer may make a file larger.
	MaxSize int64
	// MaxBackups is how many rotated files are kept; 0 keeps all.
	MaxBackups int
	// MaxAge is how long rotated files are kept; 0 keeps them for ever.
	MaxAge time.Duration
	// Compress says whether rotated files are compressed with gzip.
	Compress bool
	// Sync is how long after a write fdatasync(2) follows at the latest; SyncAlways has Write wait for it, SyncNever leaves it out.
	Sync time.Duration
	// MinFree is how many bytes Write leaves free on the file system for others: with fewer it fails. Compression leaves them too,
	// and is tried again after the next rotation, or an hour. 0 lets the disk run full.
	MinFree int64
	// Format is that of the lines. A file that has lines of the other format is rotated before the first is written.
	Format Format
	// Trouble is called when something begins to fail that is no loss yet, with the error, and with nil when it works again.
	// It may be called with the File locked: it must not write to it. nil: nobody is told.
	Trouble func(Trouble, error)

	disk disk // nil: kernel
}

// storage is the disk that the file is on.
func (o FileOptions) storage() disk {
	if o.disk == nil {
		return kernel{}
	}
	return o.disk
}

// When fdatasync(2) runs, as FileOptions.Sync has it; a positive one is how long after a write it follows at the latest.
const (
	// SyncAlways has Write return only once its lines are on disk.
	SyncAlways time.Duration = 0
	// SyncNever leaves it to the kernel, at the end of a file too.
	SyncNever time.Duration = -1
)

// fail names the operation and the file; nil stays nil.
func (o *FileOptions) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s record file %q: %w", op, o.Path, err)
}

// cause takes the operation and the path off an error that fail is about to name again.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Trouble is what fails while lines are still written.
type Trouble int

const (
	// Rotation fails: the old file is written on, and grows.
	Rotation Trouble = iota
	// Retention fails: backups are not removed or compressed as they should be.
	Retention
	// Syncing fails: what was written since the last sync may not survive a loss of power. Until it works again Write waits for the
	// disk, and fails with it.
	Syncing
	// TornLine is told once, when the file was opened and ended in the middle of a line; the error says what was done about it.
	TornLine
	// Clock is told when the clock seems to have jumped, or backups have names that it has not come to. They are kept in the order of
	// rotation, and their age goes on from what it was.
	Clock
)

// tell tells whoever wants to know.
func (o *FileOptions) tell(what Trouble, err error) {
	if o.Trouble != nil {
		o.Trouble(what, err)
	}
}
