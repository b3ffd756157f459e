package records

import (
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"

	"tcpmux/daemon/record"
)

// mostRepeats is how many stretches that were recorded again are compared. A daemon leaves one for
// each client and crash; a hostile file may have any number.
const mostRepeats = 1 << 20

// repeat is a stretch of a session's stream that was recorded again: the daemon writes before it
// takes a message from the socket, so a crash in between repeats what was written last. Whether
// both are equal is known when the files have been read a second time; so nothing of a session has
// to be kept just in case.
type repeat struct {
	place
	from, to int64  // where in the stream
	again    digest // of what was recorded again
}

// digest represents bytes: a polynomial over the integers modulo the prime 2^61-1, evaluated at a
// place that nobody can predict. The digest of a stretch follows from the digests up to its
// beginning and up to its end, so stretches may overlap and each byte is still added once.
type digest struct {
	sum  uint64
	size int64
}

const prime = 1<<61 - 1

// add adds bytes.
func (d *digest) add(at uint64, b []byte) {
	for _, c := range b {
		d.sum = product(d.sum, at) + uint64(c) + 1
	}
	d.sum %= prime
	d.size += int64(len(b))
}

// since returns the digest of what was added after before.
func (d digest) since(at uint64, before digest) digest {
	size := d.size - before.size
	head := before.sum
	for n := size; n > 0; n >>= 1 {
		if n&1 == 1 {
			head = product(head, at)
		}
		at = product(at, at)
	}
	return digest{(d.sum%prime + prime - head%prime) % prime, size}
}

// product returns a times b modulo prime. Both, and the result, may be up to 2^20 above prime.
func product(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	n := low&prime + (high<<3 | low>>61)
	if n >= prime {
		n -= prime
	}
	return n
}

// repeats are the repeats of all sessions.
type repeats struct {
	at        uint64 // where the digests' polynomials are evaluated
	bySession map[string]*stream
	n, most   int
	more      place // where the first one stands that was one too many
	dropped   int64
}

// stream is a session some of whose messages were recorded again.
type stream struct {
	list []*repeat

	// In the second reading:
	edges []edge // where repeats begin and end, in order
	next  int    // the first of edges that has not been reached
	deep  int    // within so many repeats
	known int64  // up to where the stream has been recorded
	heard bool
	first digest // of what was recorded first, as far as it lies within repeats
}

// edge is an offset of a stream where repeats begin or end.
type edge struct {
	at    int64
	deep  int // how many more begin here than end
	first digest
}

func newRepeats() *repeats {
	return &repeats{at: rand.Uint64N(prime-1) + 1, bySession: make(map[string]*stream), most: mostRepeats}
}

// note takes down a message of s that was recorded before, as far as known says, and is now at that
// place again. It reports whether a new stretch begins.
func (rs *repeats) note(s *session, at place, m *record.Message, known int64) (begins bool) {
	r := s.repeat
	if r == nil || m.Offset != r.to {
		r, begins = &repeat{place: at, from: m.Offset}, true
		s.repeat = r
		rs.keep(s.source.Session, r)
	}
	r.to = max(m.Offset, min(known, m.Offset+int64(m.Len())))
	r.again.add(rs.at, m.Raw[:r.to-m.Offset])
	return begins
}

func (rs *repeats) keep(session string, r *repeat) {
	if rs.n == rs.most {
		if rs.dropped++; rs.dropped == 1 {
			rs.more = r.place
		}
		return
	}
	rs.n++
	st := rs.bySession[session]
	if st == nil {
		st = &stream{}
		rs.bySession[session] = st
	}
	st.list = append(st.list, r)
}

// judge reports the repeats that differ from what was recorded first.
func (rs *repeats) judge(fault func(at place, what string)) {
	for _, session := range slices.Sorted(maps.Keys(rs.bySession)) {
		st := rs.bySession[session]
		st.advance(rs.at, nil, 1<<63-1)
		for _, r := range st.list {
			first := st.edge(r.to).first.since(rs.at, st.edge(r.from).first)
			switch {
			case first.size < r.again.size:
				fault(r.place, fmt.Sprintf("session %s: a message at offset %d comes behind others that begin later", session, r.from))
			case first != r.again:
				fault(r.place, fmt.Sprintf("session %s: the bytes at offset %d to %d were recorded before, and were others", session, r.from, r.to))
			}
		}
	}
	if rs.dropped > 0 {
		fault(rs.more, fmt.Sprintf("so much is recorded again that it is not compared from here on, %d times", rs.dropped))
	}
}

// prepare makes st ready for the second reading.
func (st *stream) prepare() {
	for _, r := range st.list {
		st.edges = append(st.edges, edge{at: r.from, deep: 1}, edge{at: r.to, deep: -1})
	}
	slices.SortFunc(st.edges, func(a, b edge) int { return int(min(max(a.at-b.at, -1), 1)) })
	kept := st.edges[:0]
	for _, e := range st.edges {
		if n := len(kept); n > 0 && kept[n-1].at == e.at {
			kept[n-1].deep += e.deep
			continue
		}
		kept = append(kept, e)
	}
	st.edges = kept
}

// edge returns the edge at that offset.
func (st *stream) edge(at int64) *edge {
	i, _ := slices.BinarySearchFunc(st.edges, at, func(e edge, at int64) int { return int(min(max(e.at-at, -1), 1)) })
	return &st.edges[i]
}

// advance adds what was recorded first, which ends at that offset.
func (st *stream) advance(at uint64, b []byte, end int64) {
	for {
		n := len(b)
		reached := st.next < len(st.edges) && st.edges[st.next].at <= end
		if reached {
			n = int(max(0, int64(len(b))-(end-st.edges[st.next].at)))
		}
		if st.deep > 0 {
			st.first.add(at, b[:n])
		}
		if b = b[n:]; !reached {
			return
		}
		e := &st.edges[st.next]
		e.first = st.first
		st.deep += e.deep
		st.next++
	}
}

// rereader is the visitor of the second reading: repeats are compared with what was recorded first.
type rereader struct{ *repeats }

func newRereader(rs *repeats) rereader {
	for _, st := range rs.bySession {
		st.prepare()
	}
	return rereader{rs}
}

func (rereader) file(string, record.Format) {}
func (rereader) fault(place, string)        {}

// record adds what is recorded for the first time to the digests of its repeats.
func (rs rereader) record(_ place, r *record.Record) {
	st := rs.bySession[r.Session]
	if st == nil || r.Kind != record.KindMessage {
		return
	}
	if !st.heard {
		st.known, st.heard = r.Offset, true
	}
	if end := r.Offset + int64(r.Len()); end > st.known {
		st.advance(rs.at, r.Raw[max(0, st.known-r.Offset):], end)
		st.known = end
	}
}
