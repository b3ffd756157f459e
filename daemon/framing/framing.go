// Package framing cuts a client's bytes into messages. It keeps no bytes, never blocks and uses no
// sockets. The same bytes give the same messages, however they were segmented on the way; only
// Chunk depends on segments, and Silence on the time between them.
package framing

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// Flag tells in what way a message is not whole.
type Flag uint8

const (
	// Whole marks a message that came with its end.
	Whole Flag = iota
	// EOF marks the last bytes of a client that closed the connection within a message.
	EOF
	// Piece marks a piece, but not the last, of a message that is longer than the limit.
	Piece
	// Cut marks the last piece of such a message.
	Cut
	// Timeout marks an unfinished message of a connection that the daemon closed.
	Timeout
	// Malformed marks bytes that are no message: the client violates the framing, and the
	// beginning of its next message is unknown.
	Malformed
	// Between marks bytes between messages that no message follows, or none yet.
	Between
)

var flags = [...]string{"", "eof", "cut", "cut", "timeout", "malformed", "between"}

// String returns the word that records have in brackets; "" for Whole.
func (f Flag) String() string { return flags[f] }

// Message is what a Framer cuts off a stream: a message, or a piece of a message that is longer
// than the limit. It has no more than four words, so that the compiler keeps it in registers.
type Message struct {
	// Raw is the part of the stream: framing before the data, the data, and the terminator. It
	// aliases the bytes that the Framer was given.
	Raw []byte
	// HeadLen is how many bytes precede the data, including bytes between this message and the
	// previous one. It is 0 for framings that put nothing there, and for all pieces but the
	// first.
	HeadLen uint8
	// EndLen is the length of the terminator. It is 0 if none came, if the framing has none,
	// and for all pieces but the last.
	EndLen uint8
	// Flag tells whether the message is whole.
	Flag Flag
}

// Len returns how many bytes of the stream the message takes, including framing.
func (m Message) Len() int { return len(m.Raw) }

// Data returns the content of the message.
func (m Message) Data() []byte { return m.Raw[m.HeadLen : len(m.Raw)-int(m.EndLen)] }

// Framer cuts the stream of one client. It is for one goroutine at a time, and allocates nothing.
type Framer interface {
	// Next returns the first message in b. Its length is 0 if b does not contain enough of it:
	// call Next again with the same bytes and more after them. The caller has to keep at most
	// one message of the maximum length and its framing. If the length is 0, the flag is
	// Between if b is not empty and no message begins in it. After a Malformed message, all
	// further messages are Malformed.
	Next(b []byte) Message
	// Rest returns the bytes that Next left in b at the end of the stream. The last message has
	// the flag why. Call it until the length is 0, and do not call Next afterwards; for
	// Silence, Whole means that the message has ended, and Next goes on behind it.
	Rest(b []byte, why Flag) Message
	// Part cuts off all of b, which Next has left, as pieces of a message whose end is still to
	// come. This framer or another one continues with what follows. Call Part until the length
	// is 0, and then Memory. b may lack the last bytes that Next has left, but not the framing
	// of the message.
	Part(b []byte) Message
	// Memory returns what another framer needs to continue from here, in addition to the bytes
	// that Next has left.
	Memory() int64
	// Recall makes a new framer of the same Spec continue where another framer had Memory m. If
	// m is no such value, the treatment of the current message is undefined.
	Recall(m int64)
}

// Kind is a way to find the end of a message.
type Kind uint8

const (
	// Line ends a message with LF or CRLF.
	Line Kind = iota
	// NUL ends a message with a NUL byte.
	NUL
	// Chunk makes a message of each read. Next takes all bytes of the read.
	Chunk
	// OctetCounted puts the length before a message, as decimal digits and a space. A message
	// that begins otherwise ends with LF, CRLF or NUL (RFC 6587, sections 3.4.1 and 3.4.2).
	OctetCounted
	// LengthPrefixed puts the length before a message, as a binary number.
	LengthPrefixed
	// Delimited ends a message with one of several byte strings, and may begin it with another.
	Delimited
	// Fixed gives all messages the same size.
	Fixed
	// Silence ends a message when nothing has come for some time.
	Silence

	kindCount
)

var kinds = [kindCount]string{
	"line", "nul", "chunk", "octet-counted", "length-prefixed", "delimited", "fixed", "silence",
}

// Known reports whether there is a kind k.
func (k Kind) Known() bool { return k < kindCount }

// String returns the kind's name in the configuration.
func (k Kind) String() string { return kinds[k] }

// ParseKind returns the kind with the given name.
func ParseKind(name string) (Kind, error) {
	if i := slices.Index(kinds[:], name); i >= 0 {
		return Kind(i), nil
	}
	return 0, fmt.Errorf("framing %q: want one of %q", name, kinds)
}

// Spec describes how a client's bytes become messages. Each kind uses Max, and the fields that name
// it.
type Spec struct {
	Kind Kind
	// Max is the length of the longest message in bytes, without framing. It is at least 1. A
	// longer message is cut into pieces of Max bytes.
	Max int
	// LengthSize is the size of the length of LengthPrefixed: 1 to 4 bytes.
	LengthSize int
	// LittleEndian is the byte order of that length; false means network order.
	LittleEndian bool
	// LengthOffset is how many bytes stand in front of that length, at most MaxLengthOffset.
	// They are framing.
	LengthOffset int
	// LengthAdjust is added to that length to get the number of bytes that follow it.
	LengthAdjust int
	// Delimiters are those of Delimited.
	Delimiters *Delimiters
	// MessageSize is the size of the messages of Fixed in bytes. It is at least 1.
	MessageSize int
	// Silence is how long nothing comes after a message of the kind Silence.
	Silence time.Duration
}

// New returns a framer for one client.
func (s Spec) New() Framer {
	switch s.Kind {
	case NUL:
		return &delimited{max: s.Max, end: 0}
	case Chunk:
		return &chunk{max: s.Max}
	case OctetCounted:
		line := delimited{max: s.Max, end: '\n', pair: true, first: '\r', nul: true}
		return &octetCounted{counted: counted{max: s.Max}, line: line}
	case LengthPrefixed:
		return &lengthPrefixed{
			counted: counted{max: s.Max},
			offset:  s.LengthOffset,
			size:    s.LengthSize,
			adjust:  s.LengthAdjust,
			little:  s.LittleEndian,
		}
	case Delimited:
		if like, ok := s.Delimiters.asLine(); ok {
			like.max = s.Max
			return &like
		}
		return &sequences{Delimiters: s.Delimiters, max: s.Max}
	case Fixed:
		return &fixed{counted: counted{max: s.Max}, size: s.MessageSize}
	case Silence:
		return &silence{max: s.Max}
	}
	return &delimited{max: s.Max, end: '\n', pair: true, first: '\r'}
}

// Tail returns how many bytes, at the end of those that Next has left, are better not given to
// Part: they tell how the message ended, or may be the beginning of its terminator.
func (s Spec) Tail() int {
	if s.Kind == Delimited {
		return MaxDelimiter
	}
	return 1
}

// MemoryAfter returns the Memory of a framer behind a message that came with all of its end, and
// was not cut off in pieces.
func (s Spec) MemoryAfter(end []byte) int64 {
	if s.Kind != Delimited || !s.Delimiters.extended || len(s.Delimiters.start) > 0 {
		return 0
	}
	for i, one := range s.Delimiters.all {
		if bytes.Equal(one, end) && len(s.Delimiters.longer[i]) > 0 {
			f := sequences{before: known{which: uint8(i + 1)}}
			return f.Memory()
		}
	}
	return 0
}

// part cuts a piece off b that others will follow. b begins with head bytes of framing.
func part(b []byte, head, max int) Message {
	if len(b) == 0 {
		return Message{}
	}
	return Message{Raw: b[:min(len(b), head+max)], HeadLen: uint8(head), Flag: Piece}
}

// remainder cuts the last bytes of a stream, or a piece of them. b begins with head bytes of
// framing.
func remainder(b []byte, head, max int, why Flag) Message {
	if len(b)-head > max {
		return Message{Raw: b[:head+max], HeadLen: uint8(head), Flag: Piece}
	}
	return Message{Raw: b, HeadLen: uint8(head), Flag: why}
}
