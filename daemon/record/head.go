package record

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Head is what a JSON record says before its content.
type Head struct {
	Time time.Time
	Kind Kind
	// They are parts of the line.
	Listener, Session, Remote []byte
	// Offset is set for KindMessage.
	Offset int64
}

// HeadParser parses the heads of JSON records, faster than a Parser and in no memory of its own,
// however long they are. It accepts each line that a Parser accepts, and of others only such as are
// whole: the head is exact, the line ends as a record does, and there is no control character in
// it. A HeadParser is for one goroutine at a time.
type HeadParser struct{ dates dates }

// Parse parses a line without its line end. An error names the byte of the line, counted from 1,
// and quotes at most a few bytes.
func (p *HeadParser) Parse(line []byte) (h Head, err error) {
	in := cursor{line: line}
	in.want(`{"time":"`)
	at := in.at
	h.Time = p.dates.time(&in)
	if in.err == nil && !isTime(line[at:in.at]) {
		in.at = at
		in.fail("a time")
	}
	in.want(`","kind":"`)
	kind := in.word()
	in.want(`","listener":"`)
	h.Listener = in.name()
	in.want(`,"session":"`)
	h.Session = in.name()
	in.want(`,"remote":"`)
	h.Remote = in.name()
	if in.has(`,"proxy":"`) {
		in.name()
	}
	if in.has(`,"mux":"`) {
		in.name()
	}
	switch string(kind) {
	case "open":
		h.Kind = KindOpen
		in.skipTLS()
	case "message":
		h.Kind = KindMessage
		in.skipSubject()
		in.want(`,"offset":`)
		h.Offset = in.number()
		in.content()
	case "close":
		h.Kind = KindClose
		in.skipTLS()
		in.want(`,"reason":"`)
		in.reason()
		in.want(`","records":`)
		in.number()
		in.want(`,"bytes":`)
		in.number()
	default:
		in.refuse("kind %q, want open, message or close", kind)
	}
	in.want(`}`)
	if in.err == nil && in.at < len(line) {
		in.fail("the end of the record")
	}
	return h, in.err
}

// isTime reports whether b, which is as long as a time, is one between its second and its end.
func isTime(b []byte) bool {
	const dot = len("2006-01-02T15:04:05")
	for _, c := range b[dot+1 : len(b)-1] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return b[dot] == '.' && b[len(b)-1] == 'Z'
}

// name reads a name and the quote behind it.
func (c *cursor) name() []byte {
	if c.err != nil {
		return nil
	}
	rest := c.line[c.at:]
	rest = rest[:min(len(rest), maxName+1)]
	n := plain(rest, true)
	if n == len(rest) || rest[n] != '"' {
		c.fail("a name")
		return nil
	}
	c.at += n + 1
	return rest[:n]
}

// content skips what a message has behind its offset, up to the last brace.
func (c *cursor) content() {
	if c.err != nil {
		return
	}
	rest := c.line[c.at:]
	begins := bytes.HasPrefix(rest, []byte(`,"data":"`)) || bytes.HasPrefix(rest, []byte(`,"data_base64":"`)) ||
		bytes.HasPrefix(rest, []byte(`,"head":"`)) || bytes.HasPrefix(rest, []byte(`,"head_base64":"`))
	if !begins {
		c.fail(`,"head":", ,"data":" or the same with _base64`)
		return
	}
	if n := uncontrolled(rest); n < len(rest) {
		c.at += n
		c.fail("no control character")
		return
	}
	if !bytes.HasSuffix(rest, []byte(`"}`)) {
		c.at = len(c.line)
		c.fail(`the line to end with "}`)
		return
	}
	c.at = len(c.line) - 1
}

// uncontrolled returns how many bytes at the head of b are no control characters below 0x80.
func uncontrolled(b []byte) (n int) {
	for ; len(b)-n >= 8 && !controls(b[n:]); n += 8 {
	}
	for n < len(b) && b[n] >= 0x20 && b[n] != 0x7f {
		n++
	}
	return n
}

// controls reports whether one of the first eight bytes of b is below 0x20, or 0x7f; sometimes also
// if a byte above such a one seems to be, never in a word without one. Bytes of 0x80 or more have
// their high bit, which is masked.
func controls(b []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	w := binary.LittleEndian.Uint64(b)
	del := w ^ 0x7f*ones
	return ((w-0x20*ones)&^w|(del-ones)&^del)&high != 0
}
