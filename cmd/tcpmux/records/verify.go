package records

import (
	"context"
	"fmt"

	"tcpmux/daemon/record"
)

// Finding is something that Verify has found.
type Finding struct {
	File string `json:"file"`
	// Line counts from 1, in the uncompressed text; 0 is the whole file.
	Line int `json:"line"`
	// What is safe to print and on one line.
	What string `json:"what"`
}

// String returns FILE:LINE: what, on one line.
func (f Finding) String() string { return place{f.File, f.Line}.String() + ": " + f.What }

// MostFaults is how many faults of a file are reported; the others are counted.
const MostFaults = 1000

// faultCount counts the faults of files, and passes on those that are to be reported.
type faultCount struct {
	tell func(Finding)
	of   map[string]int64
}

func newFaultCount(tell func(Finding)) faultCount { return faultCount{tell, make(map[string]int64)} }

// add counts a fault.
func (c faultCount) add(at place, what string) {
	c.of[at.file]++
	if c.tell != nil && c.of[at.file] <= MostFaults {
		c.tell(Finding{at.file, at.line, what})
	}
}

// end reports how many faults of that file were not reported.
func (c faultCount) end(file string) {
	if n := c.of[file] - MostFaults; c.tell != nil && n > 0 {
		c.tell(Finding{File: file, What: fmt.Sprintf("%d faults more, %d in all: only the first %d are told", n, c.of[file], MostFaults)})
	}
}

// VerifyOptions are what Verify calls with what it finds, as it finds it. Each may be nil.
type VerifyOptions struct {
	// Fault is called with the first MostFaults faults of each file, and with the number of the
	// others.
	Fault func(Finding)
	// Note is called with what looks like a fault but is not.
	Note func(Finding)
	// Again is called before the files are read a second time, which happens if records were
	// repeated.
	Again func()
}

// Summary is what Verify has found out.
type Summary struct {
	Files []FileSummary `json:"files"`
	// Whole reports that there is no fault.
	Whole bool `json:"whole"`
	// Proven reports that, moreover, every byte of every session is present, from its first
	// record in the files to its last. Text records cannot prove it, and it cannot be proven
	// for sessions that could not be followed.
	Proven bool  `json:"proven"`
	Faults int64 `json:"faults"`
	// Sessions is the number of sessions; of text, the number of openings. Open is how many of
	// them have no close: they go on, or the daemon was killed. Earlier is how many began in an
	// earlier file.
	Sessions int64 `json:"sessions"`
	Open     int64 `json:"open"`
	Earlier  int64 `json:"earlier"`
	// Messages and Bytes count what clients sent, each once. For text, Bytes leaves out
	// framing.
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
	// Repeated is how many messages were recorded again after a crash.
	Repeated int64 `json:"repeated"`
	// Unproven is how many sessions could not be followed, because too many were open at once.
	Unproven int64 `json:"unproven"`
}

// FileSummary is what Verify has found out about one file.
type FileSummary struct {
	Name string `json:"name"`
	// Format is text or json; "" if the file has no records.
	Format  string `json:"format"`
	Records int64  `json:"records"`
	Faults  int64  `json:"faults"`
}

// Verify proves that the files are whole: that each line is a record, and that the records of each
// session follow on each other without gap or overlap from its opening to its close, whose totals
// agree. The error is from reading, or the cause of a context that is done before.
func (fs *Files) Verify(ctx context.Context, o VerifyOptions) (Summary, error) {
	v := &verifier{VerifyOptions: o, faults: newFaultCount(o.Fault), ledger: newLedger(), repeats: newRepeats(), speakers: newTracker[*speaker]()}
	fs.again = true
	for _, f := range fs.list {
		v.Files = append(v.Files, FileSummary{Name: f.name})
	}
	if err := fs.walk(ctx, v); err != nil {
		return v.Summary, err
	}
	if v.repeats.n > 0 {
		if o.Again != nil {
			o.Again()
		}
		if err := fs.walk(ctx, newRereader(v.repeats)); err != nil {
			return v.Summary, err
		}
		v.repeats.judge(v.fault)
	}
	v.end()
	return v.Summary, nil
}

// verifier is a visitor that compares records with each other.
type verifier struct {
	VerifyOptions
	Summary
	ledger
	faults   faultCount
	repeats  *repeats
	speakers *tracker[*speaker]
	current  int  // the file that is read, in Files
	text     bool // it is text
	wasText  bool // one was
}

// file notes the file and the format of the records that follow.
func (v *verifier) file(name string, f record.Format) {
	v.text = f == record.Text
	v.wasText = v.wasText || v.text
	for v.Files[v.current].Name != name {
		v.current++
	}
	v.Files[v.current].Format = "json"
	if v.text {
		v.Files[v.current].Format = "text"
		v.drift()
	}
}

// fault counts and reports a fault.
func (v *verifier) fault(at place, what string) {
	v.Faults++
	v.faults.add(at, what)
}

func (v *verifier) note(at place, format string, args ...any) {
	if v.Note != nil {
		v.Note(Finding{at.file, at.line, fmt.Sprintf(format, args...)})
	}
}

// record compares a record with the earlier ones of its session.
func (v *verifier) record(at place, r *record.Record) {
	v.Files[v.current].Records++
	if v.text {
		v.textRecord(at, r)
		return
	}
	s, known := v.session(&r.Source)
	if !known {
		v.Sessions++
	}
	if now := sourceOf(&r.Source); s.source != now {
		v.fault(at, fmt.Sprintf("session %s: is that of %s on listener %s, and was of %s on %s before",
			r.Session, now, r.Listener, s.source, s.source.Listener))
	}
	switch r.Kind {
	case record.KindOpen:
		v.opens(at, s, known)
	case record.KindMessage:
		v.says(at, s, known, &r.Message)
	case record.KindClose:
		v.closes(at, s, known, r)
	}
}

func (v *verifier) opens(at place, s *session, known bool) {
	switch {
	case !known:
		s.began, s.opened = true, true
	case !s.opened:
		v.fault(at, fmt.Sprintf("session %s: its opening comes behind what it opens", s.source.Session))
	default:
		v.note(at, "session %s: its opening is recorded again, after a crash: no fault", s.source.Session)
	}
}

func (v *verifier) says(at place, s *session, known bool, m *record.Message) {
	name := s.source.Session
	if !known {
		if s.next, s.began = m.Offset, m.Offset == 0; !s.began {
			v.earlier(at, s)
		}
	}
	st := v.message(s, m)
	switch {
	case st.again:
		if v.repeats.note(s, at, m, st.known) {
			v.note(at, "session %s: what begins at offset %d is recorded again, after a crash: no fault if it says the same", name, m.Offset)
		}
		v.Repeated++
	case st.gap > 0:
		v.fault(at, fmt.Sprintf("session %s: %d bytes are missing: the message begins at offset %d, what came before ends at %d",
			name, st.gap, m.Offset, m.Offset-st.gap))
	}
	if st.reopen {
		v.note(at, "session %s: it goes on behind its close, which a crash cut short: no fault", name)
	}
	if !st.again {
		s.repeat = nil
		if m.Flag != record.Between {
			v.Messages++
		}
	}
	v.Bytes += st.fresh
}

// closes compares the totals of a close with what was recorded. If the daemon is killed between the
// record of a close and the close itself, the session goes on and is closed again, with the totals
// that it has reached by then.
func (v *verifier) closes(at place, s *session, known bool, r *record.Record) {
	name, missing := s.source.Session, r.Bytes-s.next
	switch {
	case !known, s.adrift: // what came before is elsewhere
	case missing < 0:
		v.fault(at, fmt.Sprintf("session %s: its close tells of %d bytes, and there are %d", name, r.Bytes, s.next))
	case missing > 0 && unrecorded(s, r):
	case missing > 0:
		v.fault(at, fmt.Sprintf("session %s: %d bytes are missing: its close tells of %d, and there are %d", name, missing, r.Bytes, s.next))
	case s.began && !s.gaps && (r.Records > s.records || r.Records < s.records && !s.repeats):
		v.fault(at, fmt.Sprintf("session %s: its close tells of %d records, and there are %d", name, r.Records, s.records))
	}
	if !v.ends(s, known, r) {
		v.note(at, "session %s: its close is recorded again, after a crash: no fault", name)
		return
	}
	if !known || s.began && !s.opened {
		v.earlier(at, s)
	}
}

// unrecorded reports whether a session is one of which only the begin and the end are recorded, as
// by a proxy: its close tells of the bytes, and of no record.
func unrecorded(s *session, r *record.Record) bool {
	return s.next == 0 && s.records == 0 && r.Records == 0
}

// earlier notes, once, that a session began before the files did.
func (v *verifier) earlier(at place, s *session) {
	if s.earlier {
		return
	}
	s.earlier = true
	v.Earlier++
	v.note(at, "session %s: it began in an earlier file, which is not among these", s.source.Session)
}

// end completes the summary.
func (v *verifier) end() {
	v.Unproven = v.forgotten + v.speakers.forgotten
	v.Open += int64(v.open) + int64(v.speakers.open) + v.Unproven
	for i, f := range v.Files {
		v.Files[i].Faults = v.faults.of[f.Name]
		v.faults.end(f.Name)
	}
	v.Whole = v.Faults == 0
	v.Proven = v.Whole && !v.wasText && v.Unproven == 0
}
