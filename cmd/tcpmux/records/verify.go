package records

import (
	"context"
	"fmt"

	"tcpmux/daemon/record"
)

// Finding is something that Verify came upon.
type Finding struct {
	File string `json:"file"`
	// Line is counted from 1, in a compressed file as it is without compression; 0 stands for the
	// file.
	Line int `json:"line"`
	// What is safe to print and on one line.
	What string `json:"what"`
}

// String is FILE:LINE: what, on one line.
func (f Finding) String() string { return place{f.File, f.Line}.String() + ": " + f.What }

// MostFaults is how many faults of a file are told; the others are counted.
const MostFaults = 1000

// faultCount counts the faults of files, and passes on those that are to be told.
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

// end tells how many there are of that file beside those that were told.
func (c faultCount) end(file string) {
	if n := c.of[file] - MostFaults; c.tell != nil && n > 0 {
		c.tell(Finding{File: file, What: fmt.Sprintf("%d faults more, %d in all: only the first %d are told", n, c.of[file], MostFaults)})
	}
}

// VerifyOptions say who is told of what Verify comes upon, as it does. nil: nobody is.
type VerifyOptions struct {
	// Fault is called with what must not be: with the first MostFaults of each file, and where
	// there are more, with their number.
	Fault func(Finding)
	// Note is called with what may look like a fault and is none.
	Note func(Finding)
	// Again is called before the files are read a second time, which they are when records were
	// repeated.
	Again func()
}

// Summary is what Verify has found out.
type Summary struct {
	Files []FileSummary `json:"files"`
	// Whole says that there was no fault.
	Whole bool `json:"whole"`
	// Proven says that moreover every byte of every session, from its first record in the files to
	// its last, is proven to be there. Text cannot prove it, nor can it be proven of sessions that
	// were lost sight of.
	Proven bool  `json:"proven"`
	Faults int64 `json:"faults"`
	// Sessions is how many there are, of text how many openings. Open is how many of them have no
	// close: they go on, or the daemon was killed. Earlier is how many began in an earlier file.
	Sessions int64 `json:"sessions"`
	Open     int64 `json:"open"`
	Earlier  int64 `json:"earlier"`
	// Messages and Bytes count what clients sent, each once; Bytes of text without what framing
	// takes.
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
	// Repeated is how many messages were recorded again after a crash.
	Repeated int64 `json:"repeated"`
	// Unproven is how many sessions were lost sight of, as more were open at once than are
	// followed.
	Unproven int64 `json:"unproven"`
}

// FileSummary is what there is in one file.
type FileSummary struct {
	Name string `json:"name"`
	// Format is text or json; "" when there is no line in it.
	Format  string `json:"format"`
	Records int64  `json:"records"`
	Faults  int64  `json:"faults"`
}

// Verify proves that the files are whole: that each line is a record, and that the records of each
// session follow on each other without gap or overlap from its opening to its close, whose totals
// agree. Its error is that of reading, or the context's cause when that ends first.
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

// verifier is a visitor that holds records against each other.
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

// file notes which file and format the records are of that come next.
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

// fault counts it and tells whoever wants to know.
func (v *verifier) fault(at place, what string) {
	v.Faults++
	v.faults.add(at, what)
}

func (v *verifier) note(at place, format string, args ...any) {
	if v.Note != nil {
		v.Note(Finding{at.file, at.line, fmt.Sprintf(format, args...)})
	}
}

// record holds a record against what came before of its session.
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
	if s.source != r.Source {
		v.fault(at, fmt.Sprintf("session %s: is that of %s on listener %s, and was of %s on %s before",
			r.Session, r.Remote, r.Listener, s.source.Remote, s.source.Listener))
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

// closes holds what a close tells against what was recorded. A daemon that is killed between the
// record of a close and the close itself leaves a session that goes on, and is closed again with
// what it has come to by then.
func (v *verifier) closes(at place, s *session, known bool, r *record.Record) {
	name, missing := s.source.Session, r.Bytes-s.next
	switch {
	case !known, s.adrift: // what came before is elsewhere
	case missing < 0:
		v.fault(at, fmt.Sprintf("session %s: its close tells of %d bytes, and there are %d", name, r.Bytes, s.next))
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

// earlier notes, once, that a session began before the files did.
func (v *verifier) earlier(at place, s *session) {
	if s.earlier {
		return
	}
	s.earlier = true
	v.Earlier++
	v.note(at, "session %s: it began in an earlier file, which is not among these", s.source.Session)
}

// end sums up.
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
