package record

import (
	"bytes"
	"fmt"
	"time"
)

// Kind says what a record tells.
type Kind uint8

const (
	// KindMessage is what a client said.
	KindMessage Kind = iota
	// KindOpen is that a client has connected.
	KindOpen
	// KindClose is that a session has ended.
	KindClose
)

// Record is what one line says. As text it has no Listener, Session, Offset, Head and End.
type Record struct {
	Time time.Time
	Kind Kind
	Source
	// Message is what a KindMessage says.
	Message
	// Reason is why a session ended, Records how many messages and Bytes how much of the stream it has recorded.
	Reason         string
	Records, Bytes int64
}

// Parser reads what Encoder writes, and nothing else: a line is a record when the encoder would write it in just these bytes.
// It allocates nothing once it has warmed up, but for errors, and serves one goroutine at a time.
type Parser struct {
	format   Format
	in       cursor
	rec      Record
	second   time.Time // what the first characters of the last time stand for
	date     [len("2006-01-02T15:04:05")]byte
	again    *Encoder
	expected []byte
	words    []string // flags and reasons that have come
}

// NewParser returns a parser of records in format f.
func NewParser(f Format) *Parser { return &Parser{format: f, again: NewEncoder(f)} }

// Parse reads one line without its line end. The record and its bytes hold until the next call, its strings for good. An error
// tells at which byte of the line, from 1, what is wrong, and quotes no more than a little of it.
func (p *Parser) Parse(line []byte) (*Record, error) {
	p.in = cursor{line: line}
	p.rec.Message = Message{Raw: p.rec.Raw[:0]}
	p.rec.Proxy, p.rec.Reason, p.rec.Records, p.rec.Bytes = "", "", 0, 0
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

// object reads a JSON record.
func (p *Parser) object() {
	in, r := &p.in, &p.rec
	in.want(`{"time":"`)
	p.time()
	in.want(`","kind":"`)
	kind := in.word()
	in.want(`","listener":"`)
	intern(&r.Listener, in.printable('"'))
	in.want(`","session":"`)
	intern(&r.Session, in.printable('"'))
	in.want(`","remote":"`)
	intern(&r.Remote, in.printable('"'))
	in.want(`"`)
	p.proxy(`,"proxy":"`, '"')
	if r.Proxy != "" {
		in.want(`"`)
	}
	switch string(kind) {
	case "open":
		r.Kind = KindOpen
	case "message":
		r.Kind = KindMessage
		p.message()
	case "close":
		r.Kind = KindClose
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

// proxy reads the address of a proxy, if there is one, which is before end.
func (p *Parser) proxy(before string, end byte) {
	if p.in.has(before) {
		intern(&p.rec.Proxy, p.in.printable(end))
	}
}

// message reads the members that only a message has.
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

// text reads a text record.
func (p *Parser) text() {
	in, r := &p.in, &p.rec
	p.time()
	switch {
	case in.has(" open from "):
		r.Kind = KindOpen
		intern(&r.Remote, in.printable(' '))
		p.proxy(" via ", ' ')
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

// time reads the time.
func (p *Parser) time() {
	const form = "2006-01-02T15:04:05"
	const size = len(form) + len(".000000Z")
	if p.in.err == nil && len(p.in.line)-p.in.at < size {
		p.in.fail("a time")
	}
	b := p.in.take(size)
	if p.in.err != nil {
		return
	}
	if !bytes.Equal(b[:len(form)], p.date[:]) {
		second, err := time.Parse(form, string(b[:len(form)]))
		if err != nil {
			p.in.at -= len(b)
			p.in.fail("a time")
			return
		}
		p.second = second
		copy(p.date[:], b)
	}
	micros := 0
	for _, c := range b[len(form)+1 : len(b)-1] { // what is no digit here fails to compare
		micros = 10*micros + int(c-'0')
	}
	p.rec.Time = p.second.Add(time.Duration(micros) * time.Microsecond)
}

// compare holds the line against what the encoder would have written.
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
	want := bytes.TrimSuffix(p.expected, []byte("\n")) // nothing, where there is no such record
	if bytes.Equal(line, want) {
		return nil
	}
	at := 0
	for at < len(line) && at < len(want) && line[at] == want[at] {
		at++
	}
	return fmt.Errorf("byte %d: %s stands where %s would be written", at+1, excerpt(line[at:]), excerpt(want[at:]))
}

// intern makes s what b says, and leaves it alone when it does already.
func intern(s *string, b []byte) {
	if *s != string(b) {
		*s = string(b)
	}
}

// reason reads why a session ended: a word, and with a program its exit status or signal.
func (p *Parser) reason() string {
	start := p.in.at
	p.in.word()
	if p.in.has(" ") {
		p.in.number()
	}
	return p.known(p.in.line[start:p.in.at])
}

// word reads a word of ours.
func (p *Parser) word() string { return p.known(p.in.word()) }

// known is what b says. There are few words, so each is made a string once.
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
