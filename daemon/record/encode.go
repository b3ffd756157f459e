package record

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is a message of a client, or a piece of a message.
type Message struct {
	// Offset is the offset in the client's stream, in bytes, at which the message begins. The
	// next message begins Len bytes later.
	Offset int64
	// Raw is that part of the stream: HeadLen bytes of framing, the data, and EndLen bytes of
	// terminator.
	Raw             []byte
	HeadLen, EndLen int
	// Flag is a word of lower-case letters that tells how the message is not whole; "" if it is
	// whole.
	Flag string
}

// Between is the flag of bytes between messages that no message followed when they were recorded.
// They are not a message and do not count as one.
const Between = "between"

// Len returns how many bytes of the stream the message takes.
func (m *Message) Len() int { return len(m.Raw) }

// Head returns the framing before the data.
func (m *Message) Head() []byte { return m.Raw[:m.HeadLen] }

// Data returns the content of the message.
func (m *Message) Data() []byte { return m.Raw[m.HeadLen : len(m.Raw)-m.EndLen] }

// End returns the terminator.
func (m *Message) End() []byte { return m.Raw[len(m.Raw)-m.EndLen:] }

// Encoder appends records to a buffer. It keeps the parts that consecutive records of one client
// have in common, so that many records cost little. After a few records it allocates nothing. An
// Encoder is for one goroutine at a time.
type Encoder struct {
	format Format
	src    *Source
	stamp  stamp
	head   []byte // what all messages of src begin with; empty before the first one
	value  []byte // of the name that is encoded
}

// NewEncoder returns an encoder for records in format f.
func NewEncoder(f Format) *Encoder { return &Encoder{format: f} }

// Begin sets the source and the time of the next records. The encoder keeps src until the next
// Begin.
func (e *Encoder) Begin(src *Source, now time.Time) {
	e.src = src
	e.stamp.set(now)
	e.head = e.head[:0]
}

// Message appends the record of a message. A text record has no framing, and so there is none for
// bytes that are Between: only JSON records allow to recover the exact bytes of the stream.
func (e *Encoder) Message(dst []byte, m *Message) []byte {
	if len(e.head) == 0 {
		e.setHead()
	}
	if e.format == JSON {
		dst = strconv.AppendInt(append(dst, e.head...), m.Offset, 10)
		if m.HeadLen > 0 {
			dst = appendBytes(dst, `,"head":"`, m.Head())
		}
		dst = appendBytes(dst, `,"data":"`, m.Data())
		if m.EndLen > 0 {
			dst = appendBytes(dst, `,"end":"`, m.End())
		}
		if m.Flag != "" {
			dst = append(append(append(dst, `,"flag":"`...), m.Flag...), '"')
		}
		return append(dst, "}\n"...)
	}
	if m.Flag == Between {
		return dst
	}
	dst = append(dst, e.head...)
	if m.Flag != "" {
		dst = append(append(append(dst, " ["...), m.Flag...), ']')
	}
	return append(appendEscaped(append(dst, ": "...), m.Data()), '\n')
}

// setHead sets the head: of JSON everything before the offset, of text what is before the flag.
func (e *Encoder) setHead() {
	if e.format == Text {
		e.head = append(append(append(e.head, e.stamp.text[:]...), " from "...), e.src.Remote...)
		return
	}
	e.head = e.who(e.head, "message")
	if e.src.TLS != nil { // who the client's certificate says it is
		e.head = e.member(e.head, `,"subject":"`, e.src.TLS.Subject)
	}
	e.head = append(e.head, `,"offset":`...)
}

// Open appends the record of a client that has connected.
func (e *Encoder) Open(dst []byte) []byte {
	if e.format == JSON {
		return append(e.tls(e.who(dst, "open")), "}\n"...)
	}
	dst = append(append(append(dst, e.stamp.text[:]...), " open from "...), e.src.Remote...)
	if e.src.Proxy != "" {
		dst = append(append(dst, " via "...), e.src.Proxy...)
	}
	if e.src.Mux != "" {
		dst = append(append(dst, " via mux "...), e.src.Mux...)
	}
	return append(e.tls(dst), '\n')
}

// Close appends the record of a session that has ended. reason is a lower-case word, which a number
// may follow. records is how many messages were recorded, and bytes is their size.
func (e *Encoder) Close(dst []byte, reason string, records, bytes int64) []byte {
	if e.format == JSON {
		dst = append(append(append(e.tls(e.who(dst, "close")), `,"reason":"`...), reason...), `","records":`...)
		dst = append(strconv.AppendInt(dst, records, 10), `,"bytes":`...)
		return append(strconv.AppendInt(dst, bytes, 10), "}\n"...)
	}
	dst = append(append(append(dst, e.stamp.text[:]...), " close from "...), e.src.Remote...)
	dst = append(append(append(dst, ": "...), reason...), ", "...)
	dst = append(strconv.AppendInt(dst, records, 10), " records, "...)
	dst = append(strconv.AppendInt(dst, bytes, 10), " bytes"...)
	return append(e.tls(dst), '\n')
}

// who appends the beginning of an object, up to the way that the client has come.
func (e *Encoder) who(dst []byte, kind string) []byte {
	dst = append(append(dst, `{"time":"`...), e.stamp.text[:]...)
	dst = append(append(append(dst, `","kind":"`...), kind...), `","listener":"`...)
	dst = append(append(append(dst, e.src.Listener...), `","session":"`...), e.src.Session...)
	dst = append(append(append(dst, `","remote":"`...), e.src.Remote...), '"')
	if e.src.Proxy != "" {
		dst = append(append(append(dst, `,"proxy":"`...), e.src.Proxy...), '"')
	}
	if e.src.Mux != "" {
		dst = append(append(append(dst, `,"mux":"`...), e.src.Mux...), '"')
	}
	return dst
}

// stamp is a time as records have it: RFC 3339, UTC, with microseconds.
type stamp struct {
	text   [len("2006-01-02T15:04:05.000000Z")]byte
	second int64 // the Unix second in text
	shows  bool  // text is set
}

// set sets text to now, a time from year 0 to 9999. It computes the date only once a second. It
// needs less stack than time.Time.Format, which matters because each client's goroutine keeps the
// stack that it once needed.
func (s *stamp) set(now time.Time) {
	if second := now.Unix(); !s.shows || second != s.second {
		s.setSecond(now.UTC())
		s.second, s.shows = second, true
	}
	digits(s.text[20:26], now.Nanosecond()/1000)
}

func (s *stamp) setSecond(now time.Time) {
	copy(s.text[:], "0000-00-00T00:00:00.000000Z")
	year, month, day := now.Date()
	digits(s.text[0:4], year)
	digits(s.text[5:7], int(month))
	digits(s.text[8:10], day)
	hour, minute, second := now.Clock()
	digits(s.text[11:13], hour)
	digits(s.text[14:16], minute)
	digits(s.text[17:19], second)
}

// digits fills dst with the decimal digits of n.
func digits(dst []byte, n int) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

const hex = "0123456789abcdef"

// appendEscaped appends data in a form that stays on one line and cannot control a terminal. A
// backslash becomes `\\`, control characters below 0x80 and bytes that are not UTF-8 become `\xNN`,
// and the other unsafe characters become `\uNNNN`. The form is reversible.
func appendEscaped(dst, data []byte) []byte {
	for {
		n := plain(data, false)
		dst = append(dst, data[:n]...)
		if n == len(data) {
			return dst
		}
		data = data[n:]
		switch c := data[0]; {
		case c == '\\':
			dst, n = append(dst, `\\`...), 1
		case c < utf8.RuneSelf:
			dst, n = appendX(dst, c), 1
		default:
			dst, n = appendRunes(dst, data)
		}
		data = data[n:]
	}
}

// appendBytes appends the member for data. before is what goes before a value that is UTF-8, from
// the comma to the quote; other data is in base64, under that name with _base64 behind it. It also
// escapes characters that JSON allows but that could control a terminal.
func appendBytes(dst []byte, before string, data []byte) []byte {
	from := len(dst)
	dst = append(dst, before...)
	valid := false // the rest is UTF-8; ASCII is
	for rest := data; ; {
		n := plain(rest, true)
		dst = append(dst, rest[:n]...)
		if n == len(rest) {
			return append(dst, '"')
		}
		rest = rest[n:]
		switch c := rest[0]; {
		case c == '"' || c == '\\':
			dst, n = append(dst, '\\', c), 1
		case c < utf8.RuneSelf:
			dst, n = appendU(dst, rune(c)), 1
		case !valid && !utf8.Valid(rest):
			return appendBase64(dst[:from], before, data)
		default:
			valid = true
			dst, n = appendRunes(dst, rest)
		}
		rest = rest[n:]
	}
}

// appendBase64 is appendBytes for what is not UTF-8.
func appendBase64(dst []byte, before string, data []byte) []byte {
	dst = append(append(dst, strings.TrimSuffix(before, `":"`)...), `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, data), '"')
}

// appendRunes appends the characters at the head of data that are not ASCII, and returns how many
// bytes they are.
func appendRunes(dst, data []byte) ([]byte, int) {
	from, n := 0, 0 // those between are safe
	for n < len(data) && data[n] >= utf8.RuneSelf {
		r, size := utf8.DecodeRune(data[n:])
		bad := r == utf8.RuneError && size == 1
		if !bad && !unsafeRune(r) {
			n += size
			continue
		}
		if dst = append(dst, data[from:n]...); bad {
			dst = appendX(dst, data[n])
		} else {
			dst = appendU(dst, r)
		}
		n += size
		from = n
	}
	return append(dst, data[from:n]...), n
}

// appendX appends c as `\xNN`.
func appendX(dst []byte, c byte) []byte {
	return append(dst, '\\', 'x', hex[c>>4], hex[c&15])
}

// appendU appends r, which is in the basic plane, as `\uNNNN`.
func appendU(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// unsafeRune reports whether r could end a line, control a terminal, or change the order in which
// text is displayed: C0, DEL, C1, the line and paragraph separators, and the bidirectional controls
// (Unicode Standard Annex 9, table of section 2).
func unsafeRune(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r < 0x61c:
		return false
	}
	return r == 0x61c || r == 0x200e || r == 0x200f ||
		r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
