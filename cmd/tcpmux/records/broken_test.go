package records

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/record"
)

// story is a record file in the making, as a daemon might have written it.
type story struct {
	lines []storyLine
}

// storyLine is one line and what it says.
type storyLine struct {
	text    string // with its line end
	session int
	kind    record.Kind
	offset  int64 // where the message begins
	end     int64 // where it ends; of a close, what it tells of
}

// tell makes a file of random sessions, woven into each other. Each has its events or none, and a
// close or none.
func tell(rnd *rand.Rand) *story {
	s := &story{}
	var sessions [][]storyLine
	for i := range 1 + rnd.IntN(5) {
		sessions = append(sessions, tellSession(rnd, i))
	}
	for len(sessions) > 0 {
		i := rnd.IntN(len(sessions))
		if len(sessions[i]) == 0 {
			sessions = slices.Delete(sessions, i, i+1)
			continue
		}
		s.lines = append(s.lines, sessions[i][0])
		sessions[i] = sessions[i][1:]
	}
	return s
}

func tellSession(rnd *rand.Rand, i int) (lines []storyLine) {
	e := record.NewEncoder(record.JSON)
	src := &record.Source{Listener: "tcpmux", Session: fmt.Sprintf("8f3a-%x", i), Remote: fmt.Sprintf("192.0.2.7:%d", 1000+i)}
	e.Begin(src, time.Date(2026, 11, 22, 13, 5, rnd.IntN(60), rnd.IntN(1e9), time.UTC))
	events, offset, n := rnd.IntN(4) > 0, int64(0), 1+rnd.IntN(6)
	if events {
		lines = append(lines, storyLine{text: string(e.Open(nil)), session: i, kind: record.KindOpen})
	}
	for range n {
		head, data, end := pick(rnd, "", "", "\x00\x05", "12 "), randomBytes(rnd), pick(rnd, "\n", "\r\n", "\x00")
		m := record.Message{Offset: offset, Raw: slices.Concat(head, data, end), HeadLen: len(head), EndLen: len(end)}
		m.Flag = string(pick(rnd, "", "", "cut"))
		next := offset + int64(m.Len())
		lines = append(lines, storyLine{string(e.Message(nil, &m)), i, record.KindMessage, offset, next})
		offset = next
	}
	if events && rnd.IntN(4) > 0 {
		lines = append(lines, storyLine{string(e.Close(nil, "eof", int64(n), offset)), i, record.KindClose, 0, offset})
	}
	return lines
}

func pick(rnd *rand.Rand, of ...string) []byte { return []byte(of[rnd.IntN(len(of))]) }

// randomBytes is not empty, so that each message differs from what comes next.
func randomBytes(rnd *rand.Rand) []byte {
	const odd = "abc \\\"{}\x00\n\x1b\xff\xc3ü:"
	b := make([]byte, 1+rnd.IntN(30))
	for i := range b {
		b[i] = odd[rnd.IntN(len(odd))]
	}
	return b
}

func (s *story) String() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(l.text)
	}
	return b.String()
}

// after returns the line of the same session that comes next after line i, -1 if none does.
func (s *story) after(i int) int {
	for j := i + 1; j < len(s.lines); j++ {
		if s.lines[j].session == s.lines[i].session {
			return j
		}
	}
	return -1
}

// before is the same backwards.
func (s *story) before(i int) int {
	for j := i - 1; j >= 0; j-- {
		if s.lines[j].session == s.lines[i].session {
			return j
		}
	}
	return -1
}

// breakage does something to a story, and tells what Verify must find: the faults as "LINE: what",
// as far as they go, and what else the summary must say. ok is false where there is nothing to be
// done it to.
type breakage func(rnd *rand.Rand, s *story) (text string, faults []string, sum func(*Summary), ok bool)

func none(*Summary) {}

var breakages = map[string]breakage{
	"nothing": func(_ *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		return s.String(), nil, func(sum *Summary) { sum.Proven = true }, true
	},
	"a line dropped": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		i := rnd.IntN(len(s.lines))
		l, next, prev := s.lines[i], s.after(i), s.before(i)
		s.lines = slices.Delete(s.lines, i, i+1)
		switch {
		case next < 0 && prev < 0:
			return s.String(), nil, none, true
		case l.kind == record.KindClose:
			return s.String(), nil, func(sum *Summary) { sum.Open = 1 }, true
		case prev < 0 && l.kind == record.KindOpen && s.lines[next-1].kind == record.KindMessage && !s.closes(l.session):
			// Nothing tells that there was an opening.
			return s.String(), nil, none, true
		case prev < 0:
			return s.String(), nil, func(sum *Summary) { sum.Earlier = 1 }, true
		case next < 0:
			return s.String(), nil, none, true
		}
		return s.String(), []string{fmt.Sprintf("%d: session 8f3a-%x: %d bytes are missing", next, l.session, l.end-l.offset)}, none, true
	},
	"a line doubled": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		i := rnd.IntN(len(s.lines))
		at := i + 1
		// What was said is said again any time later.
		if s.lines[i].kind == record.KindMessage {
			at += rnd.IntN(len(s.lines) - i)
		}
		repeated := s.lines[i].kind == record.KindMessage
		s.lines = slices.Insert(s.lines, at, s.lines[i])
		return s.String(), nil, func(sum *Summary) {
			if repeated {
				sum.Repeated = 1
			}
		}, true
	},
	"a line doubled and changed": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		i := rnd.IntN(len(s.lines))
		l := s.lines[i]
		changed := strings.NewReplacer(`"end":"\u000a"`, `"end":"\u0000"`, `"end":"\u0000"`, `"end":"\u000a"`).Replace(l.text)
		if l.kind != record.KindMessage || changed == l.text {
			return "", nil, nil, false
		}
		l.text = changed
		s.lines = slices.Insert(s.lines, i+1, l)
		return s.String(), []string{fmt.Sprintf("%d: session 8f3a-%x: the bytes at offset %d to %d were recorded before, and were others", i+2, l.session, l.offset, l.end)},
			func(sum *Summary) { sum.Repeated = 1 }, true
	},
	"two lines swapped": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		if len(s.lines) < 2 {
			return "", nil, nil, false
		}
		i := rnd.IntN(len(s.lines) - 1)
		a, b := s.lines[i], s.lines[i+1]
		s.lines[i], s.lines[i+1] = b, a
		if a.session != b.session {
			return s.String(), nil, none, true
		}
		first, second := fmt.Sprintf("%d: session 8f3a-%x: ", i+1, a.session), fmt.Sprintf("%d: session 8f3a-%x: ", i+2, a.session)
		switch {
		case a.kind == record.KindOpen:
			return s.String(), []string{second + "its opening comes behind what it opens"}, none, true
		case b.kind == record.KindClose:
			return s.String(), []string{first + fmt.Sprintf("%d bytes are missing: its close", a.end-a.offset)}, none, true
		// The first of a session without an opening: it may have begun earlier.
		case s.before(i) < 0:
			return s.String(), []string{second + fmt.Sprintf("a message at offset %d comes behind", a.offset)}, none, true
		}
		return s.String(), []string{first + fmt.Sprintf("%d bytes are missing", a.end-a.offset), second + fmt.Sprintf("a message at offset %d comes behind", a.offset)}, none, true
	},
	"the tail torn": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		text, last := s.String(), s.lines[len(s.lines)-1].text
		cut := 1 + rnd.IntN(len(last)-1)
		return text[:len(text)-cut], []string{fmt.Sprintf("%d: the last line is torn: its end is missing behind %d bytes", len(s.lines), len(last)-cut)}, none, true
	},
	"a hole in a line": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		i := rnd.IntN(len(s.lines))
		l := s.lines[i]
		from := 1 + rnd.IntN(len(l.text)-2)
		to := from + 1 + rnd.IntN(len(l.text)-1-from)
		s.lines[i].text = l.text[:from] + strings.Repeat("\x00", to-from) + l.text[to:]
		faults := []string{fmt.Sprintf("%d: the line is cut off by the hole", i+1), fmt.Sprintf("%d: a hole of %d NUL bytes", i+1, to-from)}
		if to < len(l.text)-1 {
			faults = append(faults, fmt.Sprintf("%d: no record: byte 1: ", i+1))
		}
		if next := s.after(i); next >= 0 && l.kind == record.KindMessage && s.before(i) >= 0 {
			faults = append(faults, fmt.Sprintf("%d: session 8f3a-%x: %d bytes are missing", next+1, l.session, l.end-l.offset))
		}
		return s.String(), faults, none, true
	},
	"a hole between lines": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		i, n := rnd.IntN(len(s.lines)+1), 1+rnd.IntN(1<<19)
		text := ""
		for j, l := range s.lines {
			if j == i {
				text += strings.Repeat("\x00", n)
			}
			text += l.text
		}
		if i == len(s.lines) {
			text += strings.Repeat("\x00", n)
		}
		return text, []string{fmt.Sprintf("%d: a hole of %d NUL bytes", i+1, n)}, none, true
	},
	"a total edited": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		for i, l := range s.lines {
			if l.kind == record.KindClose {
				key := string(pick(rnd, `"bytes":`, `"records":`))
				s.lines[i].text = strings.Replace(l.text, key, key+"1", 1)
				return s.String(), []string{fmt.Sprintf("%d: session 8f3a-%x: ", i+1, l.session)}, none, true
			}
		}
		return "", nil, nil, false
	},
	"two lines glued": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		if len(s.lines) < 2 {
			return "", nil, nil, false
		}
		i := rnd.IntN(len(s.lines) - 1)
		s.lines[i].text = strings.TrimSuffix(s.lines[i].text, "\n")
		return s.String(), []string{fmt.Sprintf("%d: two records are glued together", i+1)}, none, true
	},
	"bytes dropped over a line end": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		if len(s.lines) < 3 {
			return "", nil, nil, false
		}
		i := rnd.IntN(len(s.lines) - 2) // the end of one and all of the next
		l, lost := s.lines[i], s.lines[i+1]
		faults := []string{fmt.Sprintf("%d: bytes are missing: a piece of a record is glued to the record behind it", i+1)}
		for j, gone := range []storyLine{l, lost} {
			k, began := s.after(i+j), s.before(i+j) >= 0
			if j == 0 && k == i+1 {
				continue // the next one's gap is the gap of both
			}
			if j == 1 && l.session == lost.session {
				began = s.before(i) >= 0
				gone.kind = min(gone.kind, l.kind) // a message, if either is
			}
			if k >= 0 && began && gone.kind == record.KindMessage {
				faults = append(faults, fmt.Sprintf("%d: session 8f3a-%x: ", k-1, gone.session))
			}
		}
		s.lines[i].text = l.text[:1+rnd.IntN(len(l.text)-3)]
		s.lines = slices.Delete(s.lines, i+1, i+2)
		return s.String(), faults, none, true
	},
	"a byte of data dropped": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		for i, l := range s.lines {
			if at := strings.Index(l.text, `"data":"a`); at > 0 {
				at += len(`"data":"`)
				s.lines[i].text = l.text[:at] + l.text[at+1:]
				var faults []string
				if k := s.after(i); k >= 0 {
					faults = []string{fmt.Sprintf("%d: session 8f3a-%x: 1 bytes are missing", k+1, l.session)}
				}
				return s.String(), faults, none, true
			}
		}
		return "", nil, nil, false
	},
	"a byte of the form changed": func(rnd *rand.Rand, s *story) (string, []string, func(*Summary), bool) {
		i := rnd.IntN(len(s.lines))
		l := s.lines[i]
		s.lines[i].text = strings.Replace(l.text, `"remote"`, `"Remote"`, 1)
		faults := []string{fmt.Sprintf("%d: no record: byte ", i+1)}
		if next := s.after(i); next >= 0 && l.kind == record.KindMessage && s.before(i) >= 0 {
			faults = append(faults, fmt.Sprintf("%d: session 8f3a-%x: %d bytes are missing", next+1, l.session, l.end-l.offset))
		}
		return s.String(), faults, none, true
	},
}

// closes reports whether session i has a close.
func (s *story) closes(i int) bool {
	return slices.ContainsFunc(s.lines, func(l storyLine) bool { return l.session == i && l.kind == record.KindClose })
}

// TestVerifySaysWhatIsBroken and nothing else, in files of random sessions that are broken in every
// way.
func TestVerifySaysWhatIsBroken(t *testing.T) {
	for name, breaks := range breakages {
		t.Run(name, func(t *testing.T) {
			done := 0
			for seed := range uint64(150) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				s := tell(rnd)
				whole := s.String()
				text, faults, sum, ok := breaks(rnd, s)
				if !ok {
					continue
				}
				done++
				got, found := verified(t, text)
				if !match(found, faults) {
					t.Fatalf("seed %d: got %q, want %q\nof %s\nmade of %s", seed, found, faults, text, whole)
				}
				want := got
				sum(&want)
				if got.Whole != (len(faults) == 0) || got.Faults != int64(len(faults)) || got.Proven != want.Proven ||
					got.Repeated != want.Repeated || want.Earlier > 0 && got.Earlier != want.Earlier || want.Open > got.Open {
					t.Fatalf("seed %d: got %+v, want %+v\nof %s", seed, got, want, text)
				}
			}
			if done < 10 {
				t.Errorf("got %d tries, want more", done)
			}
		})
	}
}

// verified verifies a file that says text, and returns the faults as "LINE: what".
func verified(t *testing.T, texts ...string) (Summary, []string) {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for i, text := range texts {
		names = append(names, filepath.Join(dir, fmt.Sprintf("%d.log", i)))
		if err := os.WriteFile(names[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		past := time.Now().Add(-time.Hour) // nobody writes to it
		if err := os.Chtimes(names[i], past, past); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Open(names, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	var found []string
	sum, err := files.Verify(t.Context(), VerifyOptions{Fault: func(f Finding) {
		if len(texts) > 1 {
			found = append(found, fmt.Sprintf("%s:%d: %s", filepath.Base(f.File), f.Line, f.What))
			return
		}
		found = append(found, fmt.Sprintf("%d: %s", f.Line, f.What))
	}})
	if err != nil {
		t.Fatal(err)
	}
	return sum, found
}

// match reports whether each of got begins with one of want, one for one, in any order.
func match(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	left := slices.Clone(want)
	for _, g := range got {
		i := slices.IndexFunc(left, func(w string) bool { return strings.HasPrefix(g, w) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}
