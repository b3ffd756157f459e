// Package record turns messages of clients into lines of a file. A record is one line, whatever a
// client sent; the exact bytes can be recovered from it; and Commit returns only when the whole
// line is in the file. The package takes plain values: it uses neither sockets nor the
// configuration.
package record

import (
	"fmt"
	"strconv"
	"time"
)

// Format is the format of records.
type Format uint8

const (
	// Text writes lines such as `TIME from ADDR: DATA`.
	Text Format = iota
	// JSON writes one object per line.
	JSON
)

// ParseFormat returns the format with the given name: "text" or "json".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "text":
		return Text, nil
	case "json":
		return JSON, nil
	}
	return 0, fmt.Errorf("record format %q: want text or json", name)
}

// Source is where records come from. It does not change once records were made from it.
type Source struct {
	// Listener is the name of the listener: printable ASCII without quotes or backslashes.
	Listener string
	// Session is the name of the session, which is unique across restarts: printable ASCII without
	// quotes or backslashes.
	Session string
	// Remote is the client's address, host:port.
	Remote string
	// Proxy is the address of the proxy that named the client, host:port; "" if there was no proxy.
	Proxy string
}

// Message is a message of a client, or a piece of a message.
type Message struct {
	// Offset is the offset in the client's stream, in bytes, at which the message begins. The next
	// message begins Len bytes later.
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
	head   []byte // everything before the kind (JSON) or the data (text)
}

// NewEncoder returns an encoder for records in format f.
func NewEncoder(f Format) *Encoder { return &Encoder{format: f} }

// Begin sets the source and the time of the next records. The encoder keeps src until the next
// Begin.
func (e *Encoder) Begin(src *Source, now time.Time) {
	e.src = src
	e.stamp.set(now)
	if e.format == JSON {
		e.head = append(append(append(e.head[:0], `{"time":"`...), e.stamp.text[:]...), `","kind":"`...)
		return
	}
	e.head = append(append(e.head[:0], e.stamp.text[:]...), " from "...)
	e.head = append(e.head, src.Remote...)
}

// Message appends the record of a message. A text record has no framing, and so there is none for
// bytes that are Between: only JSON records allow to recover the exact bytes of the stream.
func (e *Encoder) Message(dst []byte, m *Message) []byte {
	if e.format == JSON {
		dst = strconv.AppendInt(append(e.who(dst, "message"), `,"offset":`...), m.Offset, 10)
		if m.HeadLen > 0 {
			dst = appendBytes(dst, "head", m.Head())
		}
		dst = appendBytes(dst, "data", m.Data())
		if m.EndLen > 0 {
			dst = appendBytes(dst, "end", m.End())
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

// Open appends the record of a client that has connected.
func (e *Encoder) Open(dst []byte) []byte {
	if e.format == JSON {
		return append(e.who(dst, "open"), "}\n"...)
	}
	dst = append(append(append(dst, e.stamp.text[:]...), " open from "...), e.src.Remote...)
	if e.src.Proxy != "" {
		dst = append(append(dst, " via "...), e.src.Proxy...)
	}
	return append(dst, '\n')
}

// Close appends the record of a session that has ended. reason is a lower-case word, which a number
// may follow. records is how many messages were recorded, and bytes is their size.
func (e *Encoder) Close(dst []byte, reason string, records, bytes int64) []byte {
	if e.format == JSON {
		dst = append(append(append(e.who(dst, "close"), `,"reason":"`...), reason...), `","records":`...)
		dst = append(strconv.AppendInt(dst, records, 10), `,"bytes":`...)
		return append(strconv.AppendInt(dst, bytes, 10), "}\n"...)
	}
	dst = append(append(append(dst, e.stamp.text[:]...), " close from "...), e.src.Remote...)
	dst = append(append(append(dst, ": "...), reason...), ", "...)
	dst = append(strconv.AppendInt(dst, records, 10), " records, "...)
	return append(strconv.AppendInt(dst, bytes, 10), " bytes\n"...)
}

// who appends the beginning of an object, up to the addresses of the source.
func (e *Encoder) who(dst []byte, kind string) []byte {
	dst = append(append(append(dst, e.head...), kind...), `","listener":"`...)
	dst = append(append(append(dst, e.src.Listener...), `","session":"`...), e.src.Session...)
	dst = append(append(append(dst, `","remote":"`...), e.src.Remote...), '"')
	if e.src.Proxy != "" {
		dst = append(append(append(dst, `,"proxy":"`...), e.src.Proxy...), '"')
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
