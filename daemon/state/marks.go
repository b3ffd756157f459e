package state

import (
	"sync/atomic"
	"time"
)

// mark is the Written that is valid once the records before a position of the journal are written.
type mark struct {
	offset, records atomic.Int64
	at              atomic.Uint64 // the position << markShift, and flags; 0: there is no mark
}

// Flags of marks.
const (
	markOpened = 1 << iota // the opening of the session is among the records
	markClosed             // the end of the session is among the records
	markShift  = iota
)

// Written is the progress of a session in records that are written, or will be written whatever
// happens to the process. Offset is how far they cover the client's stream, Records is how many
// messages they are, and Opened and Closed report whether the opening and the end of the session
// are among them.
type Written struct {
	Offset, Records int64
	Opened, Closed  bool
}

// Mark notes the progress of a session once all records before a position of the journal are
// written. The position must be beyond that of the previous call.
func (s *Slot) Mark(w Written, position int64) {
	if s == nil {
		return
	}
	m := &s.at.marks[0]
	if last := s.at.marks[1].at.Load(); m.at.Load() > last {
		m = &s.at.marks[1]
	}
	m.at.Store(0) // first, so that half a mark is no mark
	m.offset.Store(w.Offset)
	m.records.Store(w.Records)
	at := uint64(position) << markShift
	if w.Opened {
		at |= markOpened
	}
	if w.Closed {
		at |= markClosed
	}
	m.at.Store(at)
}

// Written returns the last Mark that Settle has left; the zero value if there is no mark.
func (s *Slot) Written() Written {
	if s == nil {
		return Written{}
	}
	m := &s.at.marks[0]
	if next := &s.at.marks[1]; next.at.Load() > m.at.Load() {
		m = next
	}
	at := m.at.Load()
	if at == 0 {
		return Written{}
	}
	return Written{m.offset.Load(), m.records.Load(), at&markOpened != 0, at&markClosed != 0}
}

// settle removes the marks whose records are not all before position, and applies the remaining
// mark.
func (s *Slot) settle(position int64, now time.Time) {
	if s.at.marked.Load() != s.at.cookie.Load() {
		s.unmark()
		return
	}
	for i := range s.at.marks {
		if m := &s.at.marks[i]; m.at.Load()>>markShift > uint64(position) {
			m.at.Store(0)
		}
	}
	w := s.Written()
	switch at := s.Began(); {
	case !w.Opened:
	case at.IsZero():
		s.Open(now)
	default:
		s.Open(at)
	}
	if w.Closed {
		s.SetClosed()
	}
}

// unmark removes all marks, and makes the slot ready for marks of its connection.
func (s *Slot) unmark() {
	for i := range s.at.marks {
		s.at.marks[i].at.Store(0)
	}
	s.at.marked.Store(s.at.cookie.Load())
}
