package records

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"tcpmux/daemon/record"
)

// repeat is a stretch of a session's stream that was recorded again: the daemon writes before it takes a message from the
// socket, so a crash in between repeats what was written last. Whether it says the same is known when the files have been read a
// second time; so nothing of a session has to be kept for the case of a crash.
type repeat struct {
	place
	from, to int64 // where in the stream
	again    digest
	first    digest // what was recorded there before
}

// digest stands for bytes.
type digest struct {
	hash maphash.Hash
	size int64
}

// add adds what m has of the stream's bytes from from to to.
func (d *digest) add(m *record.Message, from, to int64) {
	if a, b := max(0, from-m.Offset), min(int64(m.Len()), to-m.Offset); a < b {
		_, _ = d.hash.Write(m.Raw[a:b]) // it never fails
		d.size += b - a
	}
}

// repeats are those of all sessions.
type repeats struct {
	seed      maphash.Seed
	bySession map[string][]*repeat
	known     map[string]int64 // in the second reading: up to where each session's stream has been recorded
}

func newRepeats() *repeats {
	return &repeats{seed: maphash.MakeSeed(), bySession: make(map[string][]*repeat), known: make(map[string]int64)}
}

// note takes down a message of s that was recorded before, as far as known says, and is now at that place again. It says whether
// a new stretch begins.
func (rs *repeats) note(s *session, at place, m *record.Message, known int64) (begins bool) {
	r := s.repeat
	if r == nil || m.Offset != r.to {
		r, begins = &repeat{place: at, from: m.Offset}, true
		r.again.hash.SetSeed(rs.seed)
		r.first.hash.SetSeed(rs.seed)
		s.repeat = r
		rs.bySession[s.source.Session] = append(rs.bySession[s.source.Session], r)
	}
	r.to = max(m.Offset, min(known, m.Offset+int64(m.Len())))
	r.again.add(m, m.Offset, r.to)
	return begins
}

// judge tells which repeats say something else than what was recorded first.
func (rs *repeats) judge(fault func(at place, what string)) {
	for _, session := range slices.Sorted(maps.Keys(rs.bySession)) {
		for _, r := range rs.bySession[session] {
			switch {
			case r.first.size < r.again.size:
				fault(r.place, fmt.Sprintf("session %s: a message at offset %d comes behind others that begin later", session, r.from))
			case r.first.size != r.again.size, r.first.hash.Sum64() != r.again.hash.Sum64():
				fault(r.place, fmt.Sprintf("session %s: the bytes at offset %d to %d were recorded before, and were others", session, r.from, r.to))
			}
		}
	}
}

// rereader is the visitor of the second reading: what is recorded for the first time is what repeats are held against.
type rereader struct{ *repeats }

func (rereader) file(string, record.Format) {}
func (rereader) fault(place, string)        {}

// record adds what is recorded for the first time to the repeats of it.
func (rs rereader) record(_ place, r *record.Record) {
	list := rs.bySession[r.Session]
	if len(list) == 0 || r.Kind != record.KindMessage {
		return
	}
	known, heard := rs.known[r.Session]
	if !heard {
		known = r.Offset
	}
	end := r.Offset + int64(r.Len())
	for _, again := range list {
		again.first.add(&r.Message, max(again.from, known), min(again.to, end))
	}
	rs.known[r.Session] = max(known, end)
}
