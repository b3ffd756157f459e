package record

import (
	"bytes"
	"fmt"
	"time"
)

// Kind is the kind of a record.
type Kind uint8

const (
	// KindMessage is a message of a client.
	KindMessage Kind = iota
	// KindOpen reports that a client has connected.
	KindOpen
	// KindClose reports that a session has ended.
	KindClose
)

// Record is the content of a line. A text record has no Listener, Session, Offset, Head and End.
// The record of a message has no TLS but the Subject, and none if it is text.
type Record struct {
	// Time is when the record was made, to the microsecond.
	Time time.Time
	// Kind is the kind of the record.
	Kind Kind
	// Source is where the record comes from.
	Source
	// Message is set for KindMessage.
	Message
	// Reason is why a session ended. Records is how many messages it has recorded, and Bytes is
	// how much of the stream. They are set for KindClose.
	Reason         string
	Records, Bytes int64
}

// Parser parses what Encoder writes, and nothing else: a line is a record only if the encoder would
// write exactly these bytes. After a few records it allocates nothing, except for errors. A Parser
// is for one goroutine at a time.
type Parser struct {
	format   Format
	in       cursor
	rec      Record
	dates    dates
	tls      tlsParser
	again    *Encoder
	expected []byte
	words    []string // flags and reasons so far
}

// NewParser returns a parser for records in format f.
func NewParser(f Format) *Parser { return &Parser{format: f, again: NewEncoder(f)} }

// Parse parses a line without its line end. The record, its bytes and its TLS are valid until the
// next call; its strings stay valid. An error names the byte of the line, counted from 1, and
// quotes at most a few bytes.
func (p *Parser) Parse(line []byte) (*Record, error) {
	p.in = cursor{line: line}
	p.rec.Message = Message{Raw: p.rec.Raw[:0]}
	p.rec.Proxy, p.rec.Mux, p.rec.TLS, p.rec.Reason, p.rec.Records, p.rec.Bytes = "", "", nil, "", 0, 0
	if p.format == JSON {
		p.object()
	} else {
		p.text()
	}
	if p.in.err == nil && p.in.at < len(line) {
		p.in.fail("the end of the record")
	}
	if p.in.err != nil {
		return nil, p.in.err
	}
	return &p.rec, p.compare(line)
}

// object parses a JSON record.
func (p *Parser) object() {
	in, r := &p.in, &p.rec
	in.want(`{"time":"`)
	r.Time = p.dates.time(in)
	in.want(`","kind":"`)
	kind := in.word()
	in.want(`","listener":"`)
	intern(&r.Listener, in.printable('"'))
	in.want(`","session":"`)
	intern(&r.Session, in.printable('"'))
	in.want(`","remote":"`)
	intern(&r.Remote, in.printable('"'))
	in.want(`"`)
	p.optional(&r.Proxy, `,"proxy":"`, '"')
	if r.Proxy != "" {
		in.want(`"`)
	}
	p.optional(&r.Mux, `,"mux":"`, '"')
	if r.Mux != "" {
		in.want(`"`)
	}
	switch string(kind) {
	case "open":
		r.Kind, r.TLS = KindOpen, p.tls.object(in)
	case "message":
		r.Kind, r.TLS = KindMessage, p.tls.subject(in)
		p.message()
	case "close":
		r.Kind, r.TLS = KindClose, p.tls.object(in)
		in.want(`,"reason":"`)
		r.Reason = p.reason()
		in.want(`","records":`)
		r.Records = in.number()
		in.want(`,"bytes":`)
		r.Bytes = in.number()
	default:
		in.refuse("kind %q, want open, message or close", kind)
	}
	in.want(`}`)
}

// optional parses a name or an address up to end, if the line continues with before.
func (p *Parser) optional(to *string, before string, end byte) {
	if p.in.has(before) {
		intern(to, p.in.printable(end))
	}
}

// way parses how a client of a text record has come.
func (p *Parser) way() {
	const mux = " via mux "
	if !bytes.HasPrefix(p.in.line[p.in.at:], []byte(mux)) {
		p.optional(&p.rec.Proxy, " via ", ' ')
	}
	p.optional(&p.rec.Mux, mux, ' ')
}

// message parses the members that only a message has.
func (p *Parser) message() {
	in, m := &p.in, &p.rec.Message
	in.want(`,"offset":`)
	m.Offset = in.number()
	m.Raw = in.bytes(m.Raw, "head")
	m.HeadLen = len(m.Raw)
	if at := in.at; in.err == nil {
		if m.Raw = in.bytes(m.Raw, "data"); in.at == at {
			in.fail(`,"data":" or ,"data_base64":"`)
		}
	}
	data := len(m.Raw)
	m.Raw = in.bytes(m.Raw, "end")
	m.EndLen = len(m.Raw) - data
	if in.has(`,"flag":"`) {
		m.Flag = p.word()
		in.want(`"`)
	}
}

// text parses a text record.
func (p *Parser) text() {
	in, r := &p.in, &p.rec
	r.Time = p.dates.time(in)
	switch {
	case in.has(" open from "):
		r.Kind = KindOpen
		intern(&r.Remote, in.printable(' '))
		p.way()
		r.TLS = p.tls.text(in)
	case in.has(" close from "):
		r.Kind = KindClose
		remote, _ := bytes.CutSuffix(in.printable(' '), []byte(":"))
		intern(&r.Remote, remote)
		in.want(" ")
		r.Reason = p.reason()
		in.want(", ")
		r.Records = in.number()
		in.want(" records, ")
		r.Bytes = in.number()
		in.want(" bytes")
		r.TLS = p.tls.text(in)
	default:
		r.Kind = KindMessage
		in.want(" from ")
		remote, unflagged := bytes.CutSuffix(in.printable(' '), []byte(":"))
		intern(&r.Remote, remote)
		in.want(" ")
		if !unflagged {
			in.want("[")
			r.Flag = p.word()
			in.want("]: ")
		}
		r.Raw = in.escaped(r.Raw)
	}
}

// dates reads times. It parses a date only once a second.
type dates struct {
	second time.Time // the value of date
	date   [len("2006-01-02T15:04:05")]byte
}

// time reads a time. It does not look whether the bytes behind the second are digits.
func (d *dates) time(in *cursor) time.Time {
	const form = "2006-01-02T15:04:05"
	const size = len(form) + len(".000000Z")
	if in.err == nil && len(in.line)-in.at < size {
		in.fail("a time")
	}
	b := in.take(size)
	if in.err != nil {
		return time.Time{}
	}
	if !bytes.Equal(b[:len(form)], d.date[:]) {
		second, err := time.Parse(form, string(b[:len(form)]))
		if err != nil {
			in.at -= len(b)
			in.fail("a time")
			return time.Time{}
		}
		d.second = second
		copy(d.date[:], b)
	}
	micros := 0
	for _, c := range b[len(form)+1 : len(b)-1] {
		micros = 10*micros + int(c-'0')
	}
	return d.second.Add(time.Duration(micros) * time.Microsecond)
}

// compare compares the line with what the encoder would write.
func (p *Parser) compare(line []byte) error {
	p.again.Begin(&p.rec.Source, p.rec.Time)
	switch p.rec.Kind {
	case KindOpen:
		p.expected = p.again.Open(p.expected[:0])
	case KindClose:
		p.expected = p.again.Close(p.expected[:0], p.rec.Reason, p.rec.Records, p.rec.Bytes)
	default:
		p.expected = p.again.Message(p.expected[:0], &p.rec.Message)
	}
	// Empty if the encoder writes no such record.
	want := bytes.TrimSuffix(p.expected, []byte("\n"))
	if bytes.Equal(line, want) {
		return nil
	}
	at := 0
	for at < len(line) && at < len(want) && line[at] == want[at] {
		at++
	}
	return fmt.Errorf("byte %d: %s stands where %s would be written", at+1, excerpt(line[at:]), excerpt(want[at:]))
}

// intern sets s to b, and allocates only if they differ.
func intern(s *string, b []byte) {
	if *s != string(b) {
		*s = string(b)
	}
}

// reason parses why a session ended.
func (p *Parser) reason() string { return p.known(p.in.reason()) }

// word parses a flag.
func (p *Parser) word() string { return p.known(p.in.word()) }

// known returns b as a string. There are few different words, so each is allocated once.
func (p *Parser) known(b []byte) string {
	for _, w := range p.words {
		if w == string(b) {
			return w
		}
	}
	if len(p.words) < 32 {
		p.words = append(p.words, string(b))
	}
	return string(b)
}
