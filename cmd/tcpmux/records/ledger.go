package records

import "tcpmux/daemon/record"

// closedKept is how many closed sessions are remembered: one that is closed in the moment of a crash may close again.
const closedKept = 1 << 14

// ledger follows the sessions of JSON records, one record after the other.
type ledger struct {
	sessions map[string]*session
	closed   []string // names of sessions in the order in which they closed, at most closedKept
	oldest   int      // where in closed the oldest one stands
	// framed says that the records come from a daemon that records what the framing took (head and end): from then on, what is
	// missing between two messages is missing.
	framed bool
}

// session is what is known of one.
type session struct {
	source  record.Source
	next    int64 // where the next message begins, as far as what was recorded tells
	last    int64 // where the last one began; -1 before the first
	records int64 // messages, each counted once
	began   bool  // it is known from its first byte on, and all of it
	opened  bool  // its opening is known
	closed  bool
	adrift  bool // records of it may be in a file of another format: its offset may have moved on
	gaps    bool // bytes of it are missing
	// slack is how long a terminator behind the last message may be that was not recorded: files were made so before records
	// had an end.
	slack    int64
	unproven bool    // there was such a terminator
	repeats  bool    // something was recorded twice
	repeat   *repeat // what is being recorded again
}

func newLedger() *ledger { return &ledger{sessions: make(map[string]*session)} }

// session returns the session of that source; known is false when nothing was heard of it before.
func (l *ledger) session(src *record.Source) (s *session, known bool) {
	if s, known = l.sessions[src.Session]; !known {
		s = &session{source: *src, last: -1}
		l.sessions[src.Session] = s
	}
	return s, known
}

// step is what a message does to its session.
type step struct {
	known int64 // the stream had been recorded up to here
	fresh int64 // so many of its bytes, the last ones, were not recorded before
	again bool  // it was recorded before, if not with all its bytes
	ended int64 // so many bytes before it were not recorded: a terminator, as far as one can tell
	gap   int64 // so many bytes before it are missing
}

// message enters a message of s.
func (l *ledger) message(s *session, m *record.Message) (st step) {
	l.framed = l.framed || m.HeadLen+m.EndLen > 0
	size := int64(m.Len())
	end := m.Offset + size
	st.known = s.next
	switch missing := m.Offset - s.next; {
	case missing < 0, m.Offset == s.last:
		st.again, st.fresh = true, max(0, end-s.next)
		s.repeats = true
	case s.adrift:
		st.fresh, s.began = size, false
	case missing <= s.slack:
		st.ended, st.fresh = missing, size
	default:
		st.gap, st.fresh = missing, size
	}
	s.unproven = s.unproven || st.ended > 0
	s.gaps = s.gaps || st.gap > 0
	if !st.again {
		s.records++
	}
	if !st.again || st.fresh > 0 { // what came between a crash and the start after it may be part of a message now
		s.next, s.last, s.adrift, s.slack = end, m.Offset, false, l.slack(m)
	}
	return st
}

// slack is how long a terminator that was not recorded may be: CRLF behind a message of lines, nothing where an end is recorded.
func (l *ledger) slack(m *record.Message) int64 {
	if l.framed || m.Flag != "" && m.Flag != "cut" {
		return 0
	}
	return int64(len("\r\n"))
}

// close notes that s is closed, and forgets who closed long ago.
func (l *ledger) close(s *session) {
	if s.closed {
		return
	}
	s.closed = true
	name := s.source.Session
	if len(l.closed) < closedKept {
		l.closed = append(l.closed, name)
		return
	}
	delete(l.sessions, l.closed[l.oldest])
	l.closed[l.oldest] = name
	l.oldest = (l.oldest + 1) % closedKept
}

// drift says that a file of another format comes between.
func (l *ledger) drift() {
	for _, s := range l.sessions {
		s.adrift = !s.closed
	}
}
