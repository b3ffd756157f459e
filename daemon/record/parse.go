package record

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
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
		p.expected = p.again.Message(p.expected[:0], p.rec.Message)
	}
	want := p.expected[:len(p.expected)-1]
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

// cursor reads a line piece by piece. After the first error it stands still.
type cursor struct {
	line []byte
	at   int
	err  error
}

// refuse is an error at this place.
func (c *cursor) refuse(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("byte %d: %w", c.at+1, fmt.Errorf(format, args...))
	}
}

// fail is the error that something else stands here.
func (c *cursor) fail(want string) {
	c.refuse("got %s, want %s", excerpt(c.line[min(c.at, len(c.line)):]), want)
}

// excerpt is the head of b, quoted.
func excerpt(b []byte) string {
	const most = 16
	switch {
	case len(b) == 0:
		return "the end"
	case len(b) > most:
		return strconv.QuoteToASCII(string(b[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}

// has steps over s if it stands here.
func (c *cursor) has(s string) bool {
	if c.err != nil || len(c.line)-c.at < len(s) || string(c.line[c.at:c.at+len(s)]) != s {
		return false
	}
	c.at += len(s)
	return true
}

// want steps over s, which must stand here.
func (c *cursor) want(s string) {
	if !c.has(s) {
		c.fail(s)
	}
}

// take returns the next n bytes.
func (c *cursor) take(n int) []byte {
	if c.err == nil && len(c.line)-c.at < n {
		c.fail(fmt.Sprintf("%d bytes more", n))
	}
	if c.err != nil {
		return nil
	}
	c.at += n
	return c.line[c.at-n : c.at]
}

// word returns what is made of lower-case letters.
func (c *cursor) word() []byte {
	n := 0
	for rest := c.line[c.at:]; n < len(rest) && rest[n] >= 'a' && rest[n] <= 'z'; n++ {
	}
	if n == 0 {
		c.fail("a word")
	}
	return c.take(n)
}

// number returns a whole number, not below zero.
func (c *cursor) number() (n int64) {
	start := c.at
	for ; c.err == nil && c.at < len(c.line) && c.line[c.at] >= '0' && c.line[c.at] <= '9'; c.at++ {
		digit := int64(c.line[c.at] - '0')
		if n > (math.MaxInt64-digit)/10 {
			c.fail("a smaller number")
			return 0
		}
		n = 10*n + digit
	}
	if c.at == start {
		c.fail("a number")
	}
	return n
}

// printable returns the printable ASCII, without quotes, backslashes and end, up to one of these.
func (c *cursor) printable(end byte) []byte {
	rest := c.line[c.at:]
	n := plain(rest, '"')
	if i := bytes.IndexByte(rest[:n], end); i >= 0 {
		n = i
	}
	if n == 0 && end == ' ' {
		c.fail("an address")
	}
	return c.take(n)
}

// bytes appends what a JSON member of that name holds, as it is or as base64; nothing when it is not here.
func (c *cursor) bytes(dst []byte, name string) []byte {
	switch {
	case c.has(`,"` + name + `":"`):
		return c.quoted(dst)
	case c.has(`,"` + name + `_base64":"`):
		n := max(0, bytes.IndexByte(c.line[c.at:], '"'))
		dst, err := base64.StdEncoding.Strict().AppendDecode(dst, c.line[c.at:c.at+n])
		if err != nil {
			c.refuse("%s_base64: %w", name, errors.New("this is no base64"))
		}
		c.at += n
		c.want(`"`)
		return dst
	}
	return dst
}

// quoted appends a JSON string, whose opening quote is behind us.
func (c *cursor) quoted(dst []byte) []byte {
	for c.err == nil {
		rest := c.line[c.at:]
		n := bytes.IndexAny(rest, `"\`)
		if n < 0 {
			c.at = len(c.line)
			c.fail("a closing quote")
			return dst
		}
		dst = append(dst, rest[:n]...)
		c.at += n
		switch {
		case c.has(`"`):
			return dst
		case c.has(`\\`):
			dst = append(dst, '\\')
		case c.has(`\"`):
			dst = append(dst, '"')
		default:
			dst = c.appendU(dst)
		}
	}
	return dst
}

// escaped appends what the rest of the line stands for in a text record.
func (c *cursor) escaped(dst []byte) []byte {
	for c.err == nil {
		rest := c.line[c.at:]
		n := bytes.IndexByte(rest, '\\')
		if n < 0 {
			c.at = len(c.line)
			return append(dst, rest...)
		}
		dst = append(dst, rest[:n]...)
		c.at += n
		switch {
		case c.has(`\\`):
			dst = append(dst, '\\')
		case c.has(`\x`):
			dst = append(dst, byte(c.hex(2)))
		default:
			dst = c.appendU(dst)
		}
	}
	return dst
}

// appendU appends the character that `\uNNNN` stands for.
func (c *cursor) appendU(dst []byte) []byte {
	if !c.has(`\u`) {
		c.fail("an escape that records have")
		return dst
	}
	return utf8.AppendRune(dst, rune(c.hex(4)))
}

// hex returns a number of n hexadecimal digits.
func (c *cursor) hex(n int) uint64 {
	digits := c.take(n)
	v, err := strconv.ParseUint(string(digits), 16, 32)
	if c.err == nil && err != nil {
		c.at -= n
		c.fail("hexadecimal digits")
	}
	return v
}
