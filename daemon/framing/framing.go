// Package framing cuts a client's bytes into messages. It is pure: it keeps no bytes, never blocks and has never heard of a
// socket, so that the same bytes give the same messages however they were segmented on the way.
package framing

import "bytes"

// Flag says in what way a message is not whole.
type Flag uint8

const (
	// Whole marks a message that came with its terminator.
	Whole Flag = iota
	// EOF marks the last bytes of a client that closed without a terminator.
	EOF
	// Cut marks a piece of a message that is longer than the limit; the last piece is marked too.
	Cut
	// Timeout marks bytes whose terminator had not come when the daemon closed the connection.
	Timeout
)

// String returns the word that records show in brackets; "" for Whole.
func (f Flag) String() string {
	return [...]string{"", "eof", "cut", "timeout"}[f]
}

// Message is what Next and Rest cut off a stream: a message, or a piece of one that is longer than the limit. Head, Data and End
// stand in the stream one behind the other, without a gap, and alias the bytes that were given.
type Message struct {
	// Head is what the framing puts before the data; nil for framings that put nothing there.
	Head []byte
	// Data is what the client says.
	Data []byte
	// End is the terminator; nil where none came, or the framing has none.
	End  []byte
	Flag Flag
	// More says that this is a piece, and not the last, of a message longer than the limit.
	More bool
}

// Len is how many bytes of the stream the message takes, framing included.
func (m Message) Len() int { return len(m.Head) + len(m.Data) + len(m.End) }

// Line cuts at LF or CRLF, which are not part of the message. The zero value is not ready: Max must be at least 1.
type Line struct {
	// Max is the longest message in bytes, terminator not counted; a longer one is cut into pieces of Max bytes.
	Max int
	// cutting is true between the first and the last piece of a message that is longer than Max.
	cutting bool
	// seen is how many bytes of the message under way are known to hold no LF: those of a long message that comes in small
	// pieces are looked at once.
	seen int
}

// Next returns the first message in b. Its length is 0 when b does not hold enough to tell: call again with the same bytes and
// more behind them.
func (l *Line) Next(b []byte) Message {
	window := b[:min(len(b), l.Max+2)] // the longest message and CRLF
	if i := bytes.IndexByte(window[l.seen:], '\n'); i >= 0 {
		i += l.seen
		if end := trimCR(b, i); end <= l.Max {
			l.seen = 0
			return Message{Data: b[:end], End: b[end : i+1], Flag: l.last()}
		}
	} else if len(b) <= l.Max || len(b) == l.Max+1 && b[l.Max] == '\r' {
		l.seen = len(b)
		return Message{}
	}
	return l.piece(b)
}

// Rest returns what Next left in b when no more will come, flagged with why. Call it until the length is 0.
func (l *Line) Rest(b []byte, why Flag) Message {
	if len(b) > l.Max {
		return l.piece(b)
	}
	l.cutting, l.seen = false, 0
	return Message{Data: b, Flag: why}
}

// piece cuts what is longer than the limit.
func (l *Line) piece(b []byte) Message {
	l.cutting, l.seen = true, 0
	return Message{Data: b[:l.Max], Flag: Cut, More: true}
}

// last ends the message under way and returns the flag of its last piece.
func (l *Line) last() Flag {
	if l.cutting {
		l.cutting = false
		return Cut
	}
	return Whole
}

// trimCR returns where the message ends whose LF stands at lf.
func trimCR(b []byte, lf int) int {
	if lf > 0 && b[lf-1] == '\r' {
		return lf - 1
	}
	return lf
}
