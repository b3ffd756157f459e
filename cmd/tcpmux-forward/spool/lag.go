package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/recordfile"
)

// report is what the goroutine that reads tells the one that asks.
type report struct {
	mu     sync.Mutex
	lanes  map[delivery.Key]told
	oldest time.Time
}

// told is what is known of a lane.
type told struct {
	err  error
	last time.Time       // of the last record that was handed out
	mark recordfile.Mark // of its file
}

// set notes what is wrong with a lane, and which records were handed out.
func (r *report) set(l *lane, records []Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, known := r.lanes[l.key]
	if !known && l.err == nil && len(records) == 0 {
		return
	}
	t.err = l.err
	if n := len(records); n > 0 {
		t.last, t.mark = records[n-1].Time, records[n-1].End.Mark
	}
	if r.lanes == nil {
		r.lanes = make(map[delivery.Key]told)
	}
	r.lanes[l.key] = t
}

func (r *report) get(key delivery.Key) told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lanes[key]
}

// Oldest returns when the oldest record was made that is behind the cursor of the last Lag, or
// about when, if it is in a compressed file; the zero time if there is none.
func (s *Spool) Oldest() time.Time {
	s.report.mu.Lock()
	defer s.report.mu.Unlock()
	return s.report.oldest
}

// Lag returns, for each path, how much is not delivered when c is. It opens only files that have
// changed since the last call.
func (s *Spool) Lag(c delivery.Cursor) []api.File {
	dirs := make(map[string]*directory)
	files := make([]api.File, len(s.lanes))
	var oldest time.Time
	for i, l := range s.lanes {
		p, _ := c.Find(l.key)
		t := s.report.get(l.key)
		var at time.Time
		files[i], at = s.lag(l, p, t, dirs)
		if t.err != nil {
			files[i].Error = t.err.Error()
		}
		if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	s.report.mu.Lock()
	defer s.report.mu.Unlock()
	s.report.oldest = oldest
	return files
}

// lag returns what is behind a position, and when the first record there was made.
func (s *Spool) lag(l *lane, p delivery.Position, t told, dirs map[string]*directory) (f api.File, oldest time.Time) {
	f = api.File{Path: l.path, File: l.path, Offset: p.Offset}
	ls, err := s.glance(l, dirs)
	files := ls.own
	if err == nil && p.Mark != "" {
		if files, err = ls.from(p.Mark); err == nil && len(files) == 0 { // it may have been rotated meanwhile
			if ls, err = s.list(l); err == nil {
				files, err = ls.from(p.Mark)
			}
		}
		if err == nil && len(files) == 0 {
			err = &GoneError{Path: l.path, Position: p}
			files, p.Offset = ls.own, 0
		}
	}
	for i, e := range files {
		if i == 0 && err == nil {
			f.File = e.name
		}
		if err == nil {
			err = e.err
		}
		left := e.ends - p.Offset
		if left > 0 && f.Lag == 0 {
			oldest = timeAt(e, p, t)
		}
		f.Lag += max(0, left)
		p.Offset = 0
	}
	if err != nil {
		f.Error = err.Error()
	}
	return f, oldest
}

// timeAt returns when the record at a position was made. In a compressed file it is the time of the
// record before.
func timeAt(e entry, p delivery.Position, t told) time.Time {
	switch {
	case p.Offset == 0:
		return e.first
	case e.packed && t.mark == p.Mark:
		return t.last
	case e.packed:
		return e.first
	}
	f, _, err := openRegular(e.name)
	if err != nil {
		return e.first
	}
	defer f.Close() // nothing was written
	head := make([]byte, 64)
	n, _ := f.ReadAt(head, p.Offset) // if it fails, there is no time
	if at := timeOf(head[:n]); !at.IsZero() {
		return at
	}
	return e.first
}

// glance returns the files of a lane. Directories that were read before are not read again. If the
// path is rotated meanwhile, a file may be missing.
func (s *Spool) glance(l *lane, dirs map[string]*directory) (listing, error) {
	if l.fixed != nil {
		return s.list(l)
	}
	name := filepath.Dir(l.path)
	d := dirs[name]
	if d == nil {
		var err error
		if d, err = readDir(name); err != nil {
			return listing{foreign: func() []entry { return nil }}, err
		}
		dirs[name] = d
	}
	return s.catalog.of(l.path, d), nil
}

// Ends returns where the last whole line of each path ends now. A path that has none has no
// position.
func (s *Spool) Ends() (delivery.Cursor, error) {
	var c delivery.Cursor
	var errs []error
	for _, l := range s.lanes {
		ls, err := s.list(l)
		if err != nil {
			errs = append(errs, fmt.Errorf("record file %q: %w", l.path, err))
			continue
		}
		for _, e := range slices.Backward(ls.own) {
			if e.err != nil {
				errs = append(errs, fmt.Errorf("record file %q: %w", l.path, e.err))
				break
			}
			if e.mark != "" {
				if e.packed {
					e.ends = ends(e)
				}
				c = append(c, delivery.Position{Key: l.key, Mark: e.mark, Offset: e.ends})
				break
			}
		}
	}
	return c, errors.Join(errs...)
}
