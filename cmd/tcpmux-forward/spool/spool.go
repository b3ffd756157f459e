// Package spool reads record files in the order in which they were written, over rotation,
// compression and reopening, and knows how much of them is not delivered.
package spool

import (
	"context"
	"fmt"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/daemon/delivery"
)

// Options are what a Spool reads, and whom it tells what.
type Options struct {
	// Paths are the record files, each once.
	Paths []string
	// Fault is called, by the goroutine that calls Fill, for lines that are no record, once for
	// each place. It may be nil.
	Fault func(Fault)
}

// Fault is a place in a file that is no record and is not delivered.
type Fault struct {
	// Path is the record file, and File is the one that it was rotated to, or Path.
	Path, File string
	// Offset is where the place begins in the uncompressed file.
	Offset int64
	// What says what is wrong there.
	What string
}

// GoneError reports that the file of a position is not there.
type GoneError struct {
	// Path is the record file; "" if no record file has the key of the position.
	Path     string
	Position delivery.Position
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("record file %q: the file with mark %s, which is delivered up to offset %d, "+
		"is not there", e.Path, e.Position.Mark, e.Position.Offset)
}

// ShrunkError reports that a file has become shorter than what was read of it, so that nobody knows
// what follows what was delivered.
type ShrunkError struct {
	Path         string
	Offset, Size int64
}

func (e *ShrunkError) Error() string {
	return fmt.Sprintf("record file %q: it has %d bytes, but was read up to offset %d: "+
		"somebody has cut it", e.Path, e.Size, e.Offset)
}

// Spool reads record files. Fill, Seek and Close are for one goroutine at a time; Lag, Ends and
// Oldest may be called at any time.
type Spool struct{}

// Open returns a Spool that begins at the oldest file of each path. It opens no file yet.
func Open(opt Options) *Spool { return &Spool{} }

// OpenFiles returns a Spool that reads the given files, plain or compressed, one behind the other.
// Fill returns io.EOF at the end of the last.
func OpenFiles(files []string, opt Options) (*Spool, error) { return &Spool{}, nil }

// Seek has the Spool go on at c. A path without a position begins at its oldest file. A position
// whose key no path has belongs to the path that has a file with its mark. If the file of a position
// is not there, Seek returns a *GoneError, and nothing has moved.
func (s *Spool) Seek(c delivery.Cursor) error { return nil }

// Fill replaces what is in b by the records that come next: as many as there are at once, up to
// maxRecords of them and maxBytes, but at least one, however long it is. It waits for the first until
// ctx ends. Only records that a power failure cannot take back are handed out. The paths take turns.
func (s *Spool) Fill(ctx context.Context, b *Batch, maxRecords int, maxBytes int64) error {
	<-ctx.Done()
	return ctx.Err()
}

// Lag returns, for each path, how much is not delivered when c is.
func (s *Spool) Lag(c delivery.Cursor) []api.File { return nil }

// Oldest returns when the oldest record was made that is behind the cursor of the last Lag; the zero
// time if there is none.
func (s *Spool) Oldest() time.Time { return time.Time{} }

// Ends returns where the newest file of each path ends now.
func (s *Spool) Ends() (delivery.Cursor, error) { return nil, nil }

// Close closes all files.
func (s *Spool) Close() error { return nil }
