package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/recordfile"
)

// lane is the files of a path, one behind the other.
type lane struct {
	path string
	key  delivery.Key
	// fixed are the files, if they do not come from a path: nobody writes to them.
	fixed []string

	// pos is up to where records were handed out. Without a mark none was.
	pos delivery.Position
	// before is where the lane stood before it went on to the file of pos. As long as nothing
	// of that was handed out, a power failure may take it back with its name and its mark. nil:
	// the lane was sent to pos.
	before *delivery.Position
	src    *source // the open file of pos; nil: none
	// skipped reports that src is to be what follows the file of pos, which is not there.
	skipped bool
	// seen are the files that were at or before src, or that of pos, when it was listed.
	seen map[recordfile.Mark]bool
	// behind are the files that were listed behind src. Nobody but the daemon's retention may
	// remove one before it is read.
	behind []entry
	// damaged is the compressed file of pos if reading it has failed.
	damaged *entry
	// gone is the file before src if skipped.
	gone entry
	// still is the file that had the path when nothing was found behind src.
	still still
	// tried is how much of src was durable when it had no whole line any more.
	tried int64

	until  *delivery.Position // where to end; nil: nowhere
	passed bool               // it is behind us
	misses int                // how often the file of pos was not found

	next time.Time     // when to look again
	wait time.Duration // how long the last wait was
	err  error         // what is wrong now
}

// still is what a path had at a moment.
type still struct {
	known bool
	id    identity
	empty bool
}

const (
	waitLeast = 20 * time.Millisecond
	waitMost  = 250 * time.Millisecond
	// waitFaulty is for what a person has to repair.
	waitFaulty = time.Second
	// waitPacked is the same for a compressed file, which is read from its beginning each time.
	waitPacked = 10 * time.Second
	// maxUnpackers is how many compressed files are open at once. Each needs some 50 KiB.
	maxUnpackers = 16
)

// over reports whether the lane is at its end.
func (l *lane) over() bool {
	switch {
	case l.passed:
		return true
	case l.until != nil:
		return l.pos.Mark == l.until.Mark && l.pos.Offset >= l.until.Offset
	}
	return false
}

// isDue reports whether it is time to look at the lane.
func (l *lane) isDue(now time.Time) bool {
	return !l.over() && (!now.Before(l.next) || l.src != nil && l.src.confirmable(now))
}

// idle has the lane wait: for what is known to come, or longer each time.
func (l *lane) idle(now time.Time) {
	l.wait = min(max(2*l.wait, waitLeast), waitMost)
	l.next = now.Add(l.wait)
	if l.src == nil {
		return
	}
	if at := l.src.due(); !at.IsZero() && at.Before(l.next) {
		l.next = at
	}
}

// fail notes what is wrong, which is tried again later.
func (l *lane) fail(now time.Time, err error) {
	l.err, l.next = err, now.Add(waitFaulty)
}

// close closes the file.
func (l *lane) close() error {
	if l.src == nil {
		return nil
	}
	f := l.src
	l.src, l.tried = nil, -1
	return f.close()
}

// stands returns where the delivery stands, in a file that is on disk.
func (l *lane) stands() delivery.Position {
	if l.before != nil && l.pos.Offset == 0 {
		return *l.before
	}
	return l.pos
}

// position sets where the lane stands, in a file that is not open yet.
func (l *lane) position(p delivery.Position) {
	_ = l.close() // nothing was written
	l.pos, l.before, l.skipped, l.seen, l.behind, l.still = p, nil, false, nil, nil, still{}
	l.misses, l.next, l.wait, l.err, l.damaged = 0, time.Time{}, 0, nil, nil
}

// list returns the files of a lane.
func (s *Spool) list(l *lane) (listing, error) {
	if l.fixed == nil {
		return s.catalog.list(l.path)
	}
	ls := listing{foreign: func() []entry { return nil }}
	for _, name := range l.fixed {
		ls.own = append(ls.own, s.catalog.entry(name))
	}
	return ls, nil
}

// open opens the file of the lane's position, or the first one. It reports whether one is open.
func (s *Spool) open(l *lane, now time.Time) (bool, error) {
	ls, err := s.list(l)
	if err != nil {
		return false, err
	}
	files := ls.own
	switch {
	case l.skipped:
		files = ls.unseen(l.seen, l.gone)
	case l.pos.Mark != "":
		if files, err = ls.from(l.pos.Mark); err != nil {
			return false, err
		}
		if files == nil {
			return false, s.missing(l, now)
		}
	}
	e, err := first(files)
	if err != nil || e.mark == "" {
		if l.fixed != nil && err == nil {
			l.passed = true
		}
		return false, err
	}
	offset := int64(0)
	if e.mark == l.pos.Mark {
		offset = l.pos.Offset
	}
	return s.enter(l, ls, e, offset)
}

// missing notes that the file of the lane's position was not found. It may be in between two names.
// If it is damaged, a person has moved it away so that the delivery goes on behind it.
func (s *Spool) missing(l *lane, now time.Time) error {
	if l.misses++; l.misses < seekTries {
		l.next = now.Add(waitLeast)
		return nil
	}
	if l.damaged != nil {
		s.fault(l, l.damaged.name, l.pos.Offset, "it is damaged here and was moved away: what follows in it is not delivered")
		l.gone, l.skipped, l.damaged = *l.damaged, true, nil
		return nil
	}
	return &GoneError{Path: l.path, Position: l.pos}
}

// enter opens a file of a listing as the one that is read. It reports whether it has.
func (s *Spool) enter(l *lane, ls listing, e entry, offset int64) (bool, error) {
	if e.packed && !s.mayUnpack(l) {
		return false, nil
	}
	f, info, err := openRegular(e.name)
	if err != nil {
		s.catalog.forget(e.name)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // it was moved or compressed: look again
		}
		return false, err
	}
	now := describe(e.name, f, info)
	now.rotated, now.at = e.rotated, e.at
	if now.err != nil || now.mark != e.mark {
		s.catalog.forget(e.name)
		return false, errors.Join(now.err, f.Close()) // it has changed: look again
	}
	src := &source{entry: now, file: f}
	if now.packed {
		if src.z, err = newUnpacker(f); err != nil {
			return false, errors.Join(fmt.Errorf("read record file %q: %w", e.name, err), f.Close())
		}
	}
	if l.src != nil {
		_ = l.close() // nothing was written
	}
	l.src, l.tried = src, -1
	if e.mark != l.pos.Mark {
		was := l.stands()
		if l.before = &was; l.skipped { // nobody would find that one
			l.before = nil
		}
	}
	l.pos = delivery.Position{Key: l.key, Mark: e.mark, Offset: offset}
	l.skipped, l.misses, l.still, l.damaged = false, 0, still{}, nil
	s.note(l, ls)
	next, err := first(l.behind)
	src.finished = l.fixed != nil || now.packed || err == nil && next.mark != ""
	return true, nil
}

// note notes which files are before and behind the one that is read.
func (s *Spool) note(l *lane, ls listing) {
	files, err := ls.from(l.pos.Mark)
	if err != nil || len(files) == 0 {
		return
	}
	l.behind = files[1:]
	l.seen = make(map[recordfile.Mark]bool)
	for _, e := range ls.own {
		if e.mark != "" && find(files, e.mark) < 0 {
			l.seen[e.mark] = true
		}
	}
	l.seen[l.pos.Mark] = true
	if l.until != nil && l.pos.Mark != l.until.Mark && find(files, l.until.Mark) < 0 {
		l.passed = true
	}
}

// mayUnpack reports whether the lane may open a compressed file. Those that were read to their end
// hold nobody up.
func (s *Spool) mayUnpack(l *lane) bool {
	n := 0
	for _, other := range s.lanes {
		switch {
		case other == l || other.src == nil || other.src.z == nil:
		case other.over():
			_ = other.close() // nothing was written
		case other.src.z.z != nil:
			n++
		}
	}
	return n < maxUnpackers
}
