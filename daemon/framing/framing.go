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

// Next returns the first message in b, its flag, and how many bytes of b it took, terminator included. It took 0 when b
// does not hold enough to tell: call again with the same bytes and more behind them. The message aliases b.
func (l *Line) Next(b []byte) (msg []byte, took int, flag Flag) {
	window := b[:min(len(b), l.Max+2)] // the longest message and CRLF
	if i := bytes.IndexByte(window[l.seen:], '\n'); i >= 0 {
		i += l.seen
		if end := trimCR(b, i); end <= l.Max {
			l.seen = 0
			return b[:end], i + 1, l.last()
		}
	} else if len(b) <= l.Max || len(b) == l.Max+1 && b[l.Max] == '\r' {
		l.seen = len(b)
		return nil, 0, Whole
	}
	l.cutting, l.seen = true, 0
	return b[:l.Max], l.Max, Cut
}

// Rest returns what Next left in b when no more will come, flagged with why. Call it until it takes 0.
func (l *Line) Rest(b []byte, why Flag) (msg []byte, took int, flag Flag) {
	l.seen = 0
	if len(b) > l.Max {
		l.cutting = true
		return b[:l.Max], l.Max, Cut
	}
	l.cutting = false
	return b, len(b), why
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
