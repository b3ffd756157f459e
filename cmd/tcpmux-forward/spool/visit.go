package spool

import (
	"errors"
	"io"
	"os"
	"time"
)

// successor returns the file behind the one that is read, if that has a first line. Then nobody
// writes to the file that is read any more: the daemon writes one after the other.
func (s *Spool) successor(l *lane) (e entry, ls listing, err error) {
	now := still{known: true, id: at(l.path)}
	if l.fixed == nil {
		if now.id == l.src.id {
			return entry{}, ls, nil
		}
		now.empty = isEmpty(l.path)
		if now == l.still && (now.empty || now.id == identity{}) {
			return entry{}, ls, nil
		}
	}
	if ls, err = s.list(l); err != nil {
		return entry{}, ls, err
	}
	files, err := ls.from(l.pos.Mark)
	switch {
	case err != nil:
		return entry{}, ls, err
	case len(files) > 0:
		files = files[1:]
	default:
		files = ls.unseen(l.seen, l.src.entry)
	}
	e, err = first(files)
	switch {
	case err != nil:
		s.note(l, ls) // if that file is moved away, it is told
	case e.mark == "":
		l.still = now
	}
	return e, ls, err
}

// advance goes on to the file behind the one that is read, which is read to its end.
func (s *Spool) advance(l *lane) (bool, error) {
	e, ls, err := s.successor(l)
	if err != nil || e.mark == "" {
		if l.fixed != nil && err == nil {
			l.passed = true
		}
		return false, err
	}
	behind := l.behind
	ok, err := s.enter(l, ls, e, 0)
	if !ok {
		return false, err
	}
	if i := find(behind, e.mark); i > 0 {
		for _, lost := range behind[:i] {
			if lost.mark != "" || lost.err != nil {
				s.fault(l, lost.name, 0, "it was removed before it was delivered")
			}
		}
	}
	return true, nil
}

// cut handles a file that is read and was truncated. If another program has copied it before, what
// was not read is in the copy.
func (s *Spool) cut(l *lane) (bool, error) {
	mark, err := markOf(l.src.file)
	if err != nil {
		return false, err
	}
	if mark == l.src.mark {
		return false, &ShrunkError{Path: l.src.name, Offset: l.pos.Offset, Size: l.src.size}
	}
	s.catalog.forget(l.src.name)
	ls, err := s.list(l)
	if err != nil {
		return false, err
	}
	files, err := ls.from(l.src.mark)
	if err != nil {
		return false, err
	}
	if len(files) > 0 {
		return s.enter(l, ls, files[0], l.pos.Offset)
	}
	s.fault(l, l.src.name, l.pos.Offset, "it was truncated here: what was not delivered is lost")
	l.gone, l.skipped = l.src.entry, true
	return true, l.close()
}

// visit adds what a lane has to a batch. It reports whether the batch can take no more.
func (s *Spool) visit(l *lane, b *Batch, most limits) (full bool, err error) {
	now := s.now()
	for !l.over() {
		if l.src == nil {
			if ok, err := s.open(l, now); !ok {
				return false, err
			}
		}
		err := l.src.refresh(now, l.pos.Offset, s.begin)
		if err == nil && l.src.limit() != l.tried {
			full, err = s.take(l, b, most)
		}
		switch {
		case errors.Is(err, errCut):
			if ok, err := s.cut(l); !ok || err != nil {
				return false, err
			}
			continue
		case err != nil && err != io.EOF || full || l.over():
			return full, err
		}
		if more, err := s.proceed(l); !more {
			return false, err
		}
	}
	return false, nil
}

// proceed does what is to be done when all that may be read was read. It reports whether there may
// be more at once.
func (s *Spool) proceed(l *lane) (bool, error) {
	switch {
	case l.tried != l.src.limit():
		return true, nil
	case l.src.complete():
		return s.advance(l)
	case l.src.finished:
		return false, nil // a sync is under way
	}
	e, _, err := s.successor(l)
	if err != nil || e.mark == "" {
		return false, err
	}
	l.src.finished, l.src.nextSync, l.tried = true, time.Time{}, -1
	return true, nil
}

// isEmpty reports whether a file has no byte.
func isEmpty(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.Size() == 0
}
