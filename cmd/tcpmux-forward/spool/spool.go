// Package spool reads record files in the order in which they were written, over rotation,
// compression and reopening, and knows how much of them is not delivered.
package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
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

// Error names the record file, and how far it is delivered.
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

// Error names the record file, its size, and how far it was read.
func (e *ShrunkError) Error() string {
	return fmt.Sprintf("record file %q: it has %d bytes, but was read up to offset %d: "+
		"somebody has cut it", e.Path, e.Size, e.Offset)
}

// Spool reads record files. Open, or OpenFiles, makes one. Fill, Seek, Until and Close are for one
// goroutine at a time; Lag, Ends and Oldest may be called at any time.
type Spool struct {
	opt     Options
	catalog *catalog
	lanes   []*lane
	carried delivery.Cursor // positions in files that no lane has
	bounded bool            // it ends at until
	until   delivery.Cursor
	turn    int  // which lane is next
	again   bool // it has a line that did not fit
	parser  *record.Parser
	heads   record.HeadParser
	told    map[recordfile.Mark]int64 // up to where faults were told
	wake    chan struct{}             // a sync has ended
	syncs   chan struct{}             // one element for each sync under way
	report  report
	longest int // how long a line may be: maxLine

	now      func() time.Time
	datasync func(*os.File) error
	// pause waits until wake gets something, for a time at most, or for the end of a context,
	// whose error it returns.
	pause func(context.Context, time.Duration) error
}

// maxSyncs is how many files are synced at once.
const maxSyncs = 4

// Open returns a Spool that begins at the oldest file of each path. It opens no file yet.
func Open(opt Options) *Spool {
	s := newSpool(opt)
	for _, p := range s.opt.Paths {
		s.lanes = append(s.lanes, &lane{path: p, key: delivery.KeyOf(p), tried: -1})
	}
	return s
}

func newSpool(opt Options) *Spool {
	paths := make([]string, 0, len(opt.Paths))
	for _, p := range opt.Paths {
		if abs, err := filepath.Abs(p); err == nil { // as KeyOf does
			p = abs
		}
		paths = append(paths, p)
	}
	opt.Paths = paths
	s := &Spool{
		opt:      opt,
		catalog:  newCatalog(paths),
		parser:   record.NewParser(record.JSON),
		told:     make(map[recordfile.Mark]int64),
		wake:     make(chan struct{}, 1),
		syncs:    make(chan struct{}, maxSyncs),
		longest:  maxLine,
		now:      time.Now,
		datasync: datasync,
	}
	s.pause = s.sleep
	return s
}

// OpenFiles returns a Spool that reads the given files, plain or compressed, one behind the other,
// as if they were those of one path. Nobody may write to them any more. A file that is given twice
// is read once. Fill returns io.EOF at the end of the last.
func OpenFiles(files []string, opt Options) (*Spool, error) {
	opt.Paths = nil
	s := newSpool(opt)
	l := &lane{tried: -1, fixed: []string{}}
	marks := []string{""}
	for _, name := range files {
		e := s.catalog.entry(name)
		if e.err != nil {
			return nil, fmt.Errorf("open record file: %w", e.err)
		}
		if e.mark != "" && !slices.Contains(marks, string(e.mark)) {
			marks = append(marks, string(e.mark))
			l.fixed = append(l.fixed, name)
		}
	}
	l.path = strings.Join(files, ", ")
	l.key = delivery.KeyOf(strings.Join(marks, "/")) // below /, so that it is the same everywhere
	s.lanes = []*lane{l}
	return s, nil
}

// Close closes all files.
func (s *Spool) Close() error {
	var errs []error
	for _, l := range s.lanes {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}
