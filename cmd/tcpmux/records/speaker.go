package records

import (
	"fmt"

	"tcpmux/daemon/record"
)

// maxFraming is more than any framing adds to the data of a message, or after the last one: what
// came in front of it as far as it waits for it, a start or a length in a header, and a delimiter.
const maxFraming = 128

// speaker is a client of an address between two openings in a text file. Text has neither offsets
// nor framing, so that the number of bytes is known only within limits.
type speaker struct {
	tracked
	records, bytes int64
}

// textRecord compares a text record with the events of its address, if there are any.
func (v *verifier) textRecord(at place, r *record.Record) {
	s, known := v.speakers.find(r.Remote)
	switch r.Kind {
	case record.KindOpen:
		v.Sessions++
		if known && !s.closed {
			v.Open++
			v.note(at, "%s: its session before this one has no close: the daemon was killed", r.Remote)
		}
		v.speakers.add(r.Remote, &speaker{})
	case record.KindMessage:
		v.Messages++
		v.Bytes += int64(len(r.Data()))
		if known {
			s.records++
			s.bytes += int64(len(r.Data()))
		}
	case record.KindClose:
		v.textClose(at, s, known, r)
	}
}

// textClose compares a close with what was recorded. What follows a close without an opening
// continues its session, as after a kill during the close.
func (v *verifier) textClose(at place, s *speaker, known bool, r *record.Record) {
	if !known {
		v.Earlier++
		v.note(at, "%s: its session began in an earlier file, which is not among these", r.Remote)
		s = &speaker{records: r.Records, bytes: r.Bytes}
		v.speakers.add(r.Remote, s)
	}
	v.hold(at, s, r)
	if s.closed {
		v.note(at, "%s: its close is recorded again, after a crash: no fault", r.Remote)
		return
	}
	v.speakers.close(s)
}

// hold compares the totals of a close with what was recorded.
func (v *verifier) hold(at place, s *speaker, r *record.Record) {
	switch {
	case s.records < r.Records:
		v.fault(at, fmt.Sprintf("%s: %d records are missing: its close tells of %d, and there are %d", r.Remote, r.Records-s.records, r.Records, s.records))
	case s.records > r.Records:
		v.Repeated += s.records - r.Records
		v.note(at, "%s: its close tells of %d records, and there are %d: the others may have been recorded again, after a crash", r.Remote, r.Records, s.records)
		// For the next close, if this one was cut short.
		s.records, s.bytes = r.Records, r.Bytes
	case r.Bytes > s.bytes+maxFraming*(s.records+1):
		v.note(at, "%s: its close tells of %d bytes, and its %d records have %d: the others belong to no message, as in front of a start",
			r.Remote, r.Bytes, s.records, s.bytes)
	case r.Bytes < s.bytes:
		v.fault(at, fmt.Sprintf("%s: its close tells of %d bytes, and its %d records have %d", r.Remote, r.Bytes, s.records, s.bytes))
	}
}
