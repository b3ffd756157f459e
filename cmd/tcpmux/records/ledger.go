package records

import (
	"fmt"

	"tcpmux/daemon/record"
)

// ledger follows the sessions of JSON records, record by record.
type ledger struct {
	*tracker[*session]
}

// session is what is known about a session.
type session struct {
	tracked
	source  source
	next    int64 // where the next message begins, as far as what was recorded tells
	last    int64 // where the last one began; -1 before the first
	records int64 // messages, each counted once
	began   bool  // it is known from its first byte on, and all of it
	opened  bool  // its opening is known
	earlier bool  // it was counted among those that began in an earlier file
	// Records of it may be in a file of another format: its offset may have moved on.
	adrift  bool
	gaps    bool    // bytes of it are missing
	repeats bool    // something was recorded twice
	repeat  *repeat // what is being recorded again
}

// source is where the records of a session come from: what all of them have of it.
type source struct {
	record.Source        // without TLS
	subject       string // of the client's certificate
}

func sourceOf(src *record.Source) source {
	s := source{Source: *src}
	if src.TLS != nil {
		s.subject, s.TLS = src.TLS.Subject, nil
	}
	return s
}

// String returns the client's address, and its subject if it has one.
func (s source) String() string {
	if s.subject == "" {
		return s.Remote
	}
	return fmt.Sprintf("%s (%+.100q)", s.Remote, s.subject)
}

func newLedger() ledger { return ledger{newTracker[*session]()} }

// session returns the session of that source; known is false if this is its first record.
func (l ledger) session(src *record.Source) (s *session, known bool) {
	if s, known = l.find(src.Session); !known {
		s = &session{source: sourceOf(src), last: -1}
		l.add(src.Session, s)
	}
	return s, known
}

// step is what a message does to its session.
type step struct {
	known  int64 // the stream had been recorded up to here
	fresh  int64 // so many of its bytes, the last ones, were not recorded before
	again  bool  // it was recorded before, if not with all its bytes
	gap    int64 // so many bytes before it are missing
	reopen bool  // its session had been closed
}

// message enters a message of s. Every byte of the stream is in some record, so the next one begins
// where the last one ended.
func (l ledger) message(s *session, m *record.Message) (st step) {
	size := int64(m.Len())
	end := m.Offset + size
	st.known = s.next
	switch missing := m.Offset - s.next; {
	case missing < 0, m.Offset == s.last:
		st.again, st.fresh = true, max(0, end-s.next)
		s.repeats = true
	case s.adrift:
		st.fresh, s.began = size, false
	default:
		st.gap, st.fresh = missing, size
	}
	s.gaps = s.gaps || st.gap > 0
	if !st.again && m.Flag != record.Between {
		s.records++
	}
	// What came between a crash and the start after it may be part of a message now.
	if !st.again || st.fresh > 0 {
		s.next, s.last, s.adrift = end, m.Offset, false
		if st.reopen = s.closed; s.closed {
			l.reopen(s)
		}
	}
	return st
}

// ends notes a close of s with its totals. It returns false if s is closed already.
func (l ledger) ends(s *session, known bool, r *record.Record) bool {
	if !known { // it goes on from there if a crash cuts the close short
		s.next, s.records = r.Bytes, r.Records
	}
	if s.closed {
		return false
	}
	l.close(s)
	return true
}

// drift notes that a file of another format comes in between.
func (l ledger) drift() {
	for _, s := range l.byName {
		s.adrift = !s.closed
	}
}
