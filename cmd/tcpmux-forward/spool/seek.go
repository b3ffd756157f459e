package spool

import (
	"context"
	"slices"
	"time"

	"tcpmux/daemon/delivery"
)

// seekTries is how often a file is looked for: for a moment it may be between two names.
const seekTries = 3

// Seek has the Spool go on at c. A path without a position begins at its oldest file. A position
// whose key no path has belongs to the path that has none and a file with its mark: the path was
// renamed. Others are kept for later, and are part of all cursors. If the file of a position is not
// there, Seek returns a *GoneError, if it is too short, a *ShrunkError, and nothing has moved. What
// cannot be read is looked for by Fill.
func (s *Spool) Seek(c delivery.Cursor) error {
	targets := make([]delivery.Position, len(s.lanes))
	carried := slices.Clone(c)
	for i, l := range s.lanes {
		if p, ok := c.Find(l.key); ok {
			targets[i] = p
			carried = without(carried, p)
		}
	}
	for i, l := range s.lanes {
		if targets[i].Mark == "" && len(carried) > 0 && l.fixed == nil {
			if p, ok := s.renamed(l, carried); ok {
				targets[i] = p
				targets[i].Key = l.key
				carried = without(carried, p)
			}
		}
		if err := s.check(l, targets[i]); err != nil {
			return err
		}
	}
	for i, l := range s.lanes {
		l.seek(targets[i])
		s.report.set(l, nil)
	}
	s.carried, s.again = carried, false
	s.bound()
	return nil
}

// without returns c without a position.
func without(c delivery.Cursor, p delivery.Position) delivery.Cursor {
	return slices.DeleteFunc(c, func(q delivery.Position) bool { return q == p })
}

// renamed returns the position of a cursor that is in a file of the lane.
func (s *Spool) renamed(l *lane, c delivery.Cursor) (delivery.Position, bool) {
	ls, err := s.list(l)
	if err != nil {
		return delivery.Position{}, false
	}
	for _, p := range c {
		if find(ls.own, p.Mark) >= 0 {
			return p, true
		}
	}
	return delivery.Position{}, false
}

// check returns an error if the lane cannot go on at p.
func (s *Spool) check(l *lane, p delivery.Position) error {
	if p.Mark == "" || l.src != nil && l.src.mark == p.Mark && (p.Offset <= l.src.size || l.src.finished) {
		return nil
	}
	for range seekTries {
		ls, err := s.list(l)
		if err != nil {
			return nil // Fill tells
		}
		files, err := ls.from(p.Mark)
		if err != nil {
			return nil
		}
		if len(files) > 0 {
			next, err := first(files[1:])
			if e := files[0]; !e.packed && e.size < p.Offset && err == nil && next.mark == "" && l.fixed == nil {
				return &ShrunkError{Path: e.name, Offset: p.Offset, Size: e.size}
			}
			return nil
		}
		_ = s.pause(context.Background(), waitLeast) // it ends after that time
	}
	return &GoneError{Path: l.path, Position: p}
}

// seek goes to a position. A file that is open stays open, so that it need not be synced again.
func (l *lane) seek(p delivery.Position) {
	if l.src == nil || l.src.mark != p.Mark || l.src.z != nil {
		l.position(p)
		return
	}
	l.pos, l.before, l.tried, l.skipped = p, nil, -1, false
	l.next, l.wait, l.err = time.Time{}, 0, nil
}
