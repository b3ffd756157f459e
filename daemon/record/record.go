// Package record turns what clients send into lines of a file. It promises that a record is one line, whatever a client sent;
// that the exact bytes can be had back from it; and that Commit returns only when the line is in the file, whole. It takes
// plain values and knows neither sockets nor the configuration.
package record

import (
	"fmt"
	"strconv"
	"time"
)

// Format says how records are written.
type Format uint8

const (
	// Text is one line a record: `TIME from ADDR: DATA`.
	Text Format = iota
	// JSON is one object a line.
	JSON
)

// ParseFormat returns the format of that name: "text" or "json".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "text":
		return Text, nil
	case "json":
		return JSON, nil
	}
	return 0, fmt.Errorf("record format %q: want text or json", name)
}

// Source says whose records they are. It is not changed once records have been made from it.
type Source struct {
	// Listener is the listener's name: printable ASCII without quotes or backslashes, as the configuration has it.
	Listener string
	// Session names the session; it is unique over restarts. Printable ASCII without quotes or backslashes.
	Session string
	// Remote is the client's address, host:port.
	Remote string
	// Proxy is the address of the proxy that has said so, host:port; "" when the client has come by itself.
	Proxy string
}

// Message is one message of a client, or a piece of one.
type Message struct {
	// Offset is where in the stream the message began, in bytes; Len bytes on begins the next.
	Offset int64
	// Raw is what stood there: HeadLen bytes of framing, the data, EndLen bytes of terminator.
	Raw             []byte
	HeadLen, EndLen int
	// Flag is in what way the message is not whole, in lower-case letters; "" when it is.
	Flag string
}

// Between is the flag of what is no message and does not count as one: bytes that may stand between messages, where no message
// follows, or was known of when they were recorded.
const Between = "between"

// Len is how many bytes of the stream the message is.
func (m *Message) Len() int { return len(m.Raw) }

// Head is what the framing put before the data.
func (m *Message) Head() []byte { return m.Raw[:m.HeadLen] }

// Data is what the message says.
func (m *Message) Data() []byte { return m.Raw[m.HeadLen : len(m.Raw)-m.EndLen] }

// End is the terminator.
func (m *Message) End() []byte { return m.Raw[len(m.Raw)-m.EndLen:] }

// Encoder appends records to a buffer. It remembers the parts that the records of one client at one time have in common,
// so that many cost little. It allocates nothing once it has warmed up, and serves one goroutine at a time.
type Encoder struct {
	format Format
	src    *Source
	stamp  stamp
	head   []byte // what stands before the kind (json) or the data (text)
}

// NewEncoder returns an encoder of records in format f.
func NewEncoder(f Format) *Encoder { return &Encoder{format: f} }

// Begin says whose the next records are and when they came. src is kept until the next Begin.
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

// Message appends the record of one message. As text it leaves out what is the framing's, and with it what is Between: only JSON
// gives back the exact bytes of the stream.
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

// Open appends the record that the client has connected.
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

// Close appends the record that the session has ended: why, in a lower-case word that may have a number behind it, how many
// messages were recorded, and how many bytes they are.
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

// who appends an object as far as the session's address.
func (e *Encoder) who(dst []byte, kind string) []byte {
	dst = append(append(append(dst, e.head...), kind...), `","listener":"`...)
	dst = append(append(append(dst, e.src.Listener...), `","session":"`...), e.src.Session...)
	dst = append(append(append(dst, `","remote":"`...), e.src.Remote...), '"')
	if e.src.Proxy != "" {
		dst = append(append(append(dst, `,"proxy":"`...), e.src.Proxy...), '"')
	}
	return dst
}

// stamp is a moment as records show it: RFC 3339, UTC, microseconds.
type stamp struct {
	text   [len("2006-01-02T15:04:05.000000Z")]byte
	second int64 // the Unix second that text shows
	shows  bool  // it shows one
}

// set makes text show now, a time from year 0 to 9999. The date is worked out anew only once a second. It needs less of the stack
// than time.Time.Format: this is a client's goroutine, which keeps what it once needed.
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

// digits makes dst show n.
func digits(dst []byte, n int) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}
