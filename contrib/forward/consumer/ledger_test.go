package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/record"
)

// talk makes the records of a session.
type talk struct {
	src   record.Source
	enc   *record.Encoder
	lines []string
	at    int64
}

func newTalk(session, listener, remote string) *talk {
	w := &talk{src: record.Source{Listener: listener, Session: session, Remote: remote}, enc: record.NewEncoder(record.JSON)}
	w.enc.Begin(&w.src, time.Date(2026, 11, 29, 13, 5, 7, 0, time.UTC))
	return w
}

func (w *talk) add(line []byte) { w.lines = append(w.lines, strings.TrimSuffix(string(line), "\n")) }

func (w *talk) open() { w.add(w.enc.Open(nil)) }

// say adds a message, of which the last byte is its terminator.
func (w *talk) say(raw string) {
	w.add(w.enc.Message(nil, &record.Message{Offset: w.at, Raw: []byte(raw), EndLen: 1}))
	w.at += int64(len(raw))
}

func (w *talk) close() { w.add(w.enc.Close(nil, "eof", int64(len(w.lines)-1), w.at)) }

// told is a whole session.
func told(session, listener, remote string, messages ...string) *talk {
	w := newTalk(session, listener, remote)
	w.open()
	for _, m := range messages {
		w.say(m)
	}
	w.close()
	return w
}

func TestLedger(t *testing.T) {
	a := told("1-a", "main", "192.0.2.7:1", "one\n", "two\x00\xff\n", "three\n")
	b := told("1-b", "own", "[2001:db8::7]:2", "uno\n", "due\n")
	secured := newTalk("1-c", "own", "192.0.2.9:3")
	secured.src.TLS = &record.TLS{Version: "1.3", Cipher: "X", ServerName: "a.example", Subject: `CN="c",O=x`}
	secured.enc.Begin(&secured.src, time.Unix(1_800_000_007, 0))
	secured.open()
	secured.say("tre\n")
	secured.close()
	both := []string{a.lines[0], b.lines[0], a.lines[1], b.lines[1], a.lines[2], b.lines[2], a.lines[3], b.lines[3], a.lines[4]}
	without := func(i int) []string { return slices.Delete(slices.Clone(a.lines), i, i+1) }
	since := time.Unix(1, 0)
	for _, c := range []struct {
		name   string
		opt    options
		lines  []string
		want   string
		faults []string // each a part of one
	}{
		{"a session", options{session: "1-a"}, both, "one\ntwo\x00\xff\nthree\n", nil},
		{"the other", options{session: "1-b"}, both, "uno\ndue\n", nil},
		{"a listener", options{listener: "own"}, both, "uno\ndue\n", nil},
		{"an address and port", options{remote: "192.0.2.7:1"}, both, "one\ntwo\x00\xff\nthree\n", nil},
		{"an address", options{remote: "2001:db8::7"}, both, "uno\ndue\n", nil},
		{"not the beginning of one", options{remote: "192.0.2.7:"}, both, "", nil},
		{"a device", options{client: `CN="c",O=x`}, append(secured.lines, both...), "tre\n", nil},
		{"no device", options{client: "CN=c"}, append(secured.lines, both...), "", nil},
		{"two that contradict each other", options{remote: "192.0.2.7", listener: "own"}, both, "", nil},
		{"a message is missing", options{session: "1-a"}, without(2), "one\nthree\n", []string{`message 3 of the stream: session "1-a": bytes 4 to 10 are missing`}},
		{"the first is missing", options{session: "1-a"}, without(1), "two\x00\xff\nthree\n", []string{"bytes 0 to 4 are missing"}},
		{"the last is missing", options{session: "1-a"}, without(3), "one\ntwo\x00\xff\n", []string{"bytes 10 to 16 are missing"}},
		{"the opening is missing", options{session: "1-a"}, without(0), "one\ntwo\x00\xff\nthree\n", nil},
		{"it began earlier", options{session: "1-a", since: since}, a.lines[2:], "two\x00\xff\nthree\n", nil},
		{"a message comes again", options{session: "1-a"}, slices.Insert(slices.Clone(a.lines), 3, a.lines[1]), "one\ntwo\x00\xff\nthree\n", []string{"bytes 0 to 4 come again"}},
		{"an opening comes again", options{session: "1-a"}, slices.Insert(slices.Clone(a.lines), 1, a.lines[0]), "one\ntwo\x00\xff\nthree\n", []string{"it opens again"}},
		{"all comes again", options{session: "1-a"}, append(slices.Clone(a.lines), a.lines...), "one\ntwo\x00\xff\nthree\n", nil},
		{"all comes again, and is looked at", options{session: "1-a", toEnd: true}, append(slices.Clone(a.lines), a.lines[1:]...), "one\ntwo\x00\xff\nthree\n",
			[]string{"bytes 0 to 4 come again", "bytes 4 to 10 come again", "bytes 10 to 16 come again", "it closes again"}},
		{"no record", options{session: "1-a"}, slices.Insert(slices.Clone(a.lines), 1, "{}"), "one\ntwo\x00\xff\nthree\n", []string{"no record: byte 1: "}},
		{"records", options{session: "1-b", lines: true}, both, strings.Join(b.lines, "\n") + "\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			var faults []string
			l := newLedger(c.opt, &out, func(what string) { faults = append(faults, what) })
			for i, line := range c.lines {
				more, err := l.message(uint64(i+1), sessionOf(line), []byte(line))
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					break
				}
			}
			if out.String() != c.want {
				t.Errorf("output: got %q, want %q", out.String(), c.want)
			}
			if !slices.EqualFunc(faults, c.faults, strings.Contains) || l.faults != int64(len(c.faults)) {
				t.Errorf("faults: got %d, %q, want %q", l.faults, faults, c.faults)
			}
		})
	}
}

// sessionOf returns what the header of a message says.
func sessionOf(line string) string {
	_, rest, ok := strings.Cut(line, `"session":"`)
	if !ok {
		return "1-a"
	}
	session, _, _ := strings.Cut(rest, `"`)
	return session
}

func TestLedgerSkipsWhatIsNoRecord(t *testing.T) {
	l := newLedger(options{listener: "main"}, &bytes.Buffer{}, func(what string) { t.Error(what) })
	if more, err := l.message(1, "", []byte("anything")); !more || err != nil || l.records != 0 {
		t.Errorf("got %v, %v and %d records, want true, no error and none", more, err, l.records)
	}
}

// TestPieces takes bytes that are part of a message the second time, as when the daemon was killed
// in between: what is new of them counts.
func TestPieces(t *testing.T) {
	w := newTalk("1-a", "main", "192.0.2.7:1")
	w.add(w.enc.Message(nil, &record.Message{Raw: []byte("on"), Flag: record.Between}))
	w.say("one\n")
	var out bytes.Buffer
	l := newLedger(options{session: "1-a"}, &out, func(string) {})
	for i, line := range w.lines {
		if _, err := l.message(uint64(i), "1-a", []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprintf("%q %d", out.String(), l.faults), `"one\n" 1`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
