// Package framing cuts a client's bytes into messages. It is pure: it keeps no bytes, never blocks and has never heard of a
// socket, so that the same bytes give the same messages however they were segmented on the way; only Chunk is about segments.
package framing

import (
	"fmt"
	"slices"
)

// Flag says in what way a message is not whole.
type Flag uint8

const (
	// Whole marks a message that came with its end.
	Whole Flag = iota
	// EOF marks the last bytes of a client that closed before the end of its message.
	EOF
	// Piece marks a piece, and not the last, of a message that is longer than the limit.
	Piece
	// Cut marks the last piece of such a message.
	Cut
	// Timeout marks bytes whose end had not come when the daemon closed the connection.
	Timeout
	// Malformed marks bytes that are no message: the client does not keep to the framing, and nothing tells where its next
	// message would begin.
	Malformed
	// Between marks bytes that are no message: those that stand between messages, where no message follows, or is known of yet.
	Between
)

var flags = [...]string{"", "eof", "cut", "cut", "timeout", "malformed", "between"}

// String returns the word that records show in brackets; "" for Whole.
func (f Flag) String() string { return flags[f] }

// Message is what Next and Rest cut off a stream: a message, or a piece of one that is longer than the limit. It is small enough for
// the compiler to keep in registers, which takes no more than four words.
type Message struct {
	// Raw is what stands in the stream: what the framing puts before the data, the data, the terminator. They alias the bytes that
	// were given.
	Raw []byte
	// HeadLen is how many bytes stand before the data, those between it and the message before among them; 0 for framings that
	// put nothing there, and for all pieces but the first.
	HeadLen uint8
	// EndLen is how many bytes the terminator is; 0 where none came, or the framing has none, and for all pieces but the last.
	EndLen uint8
	Flag   Flag
}

// Len is how many bytes of the stream the message takes, framing included.
func (m Message) Len() int { return len(m.Raw) }

// Data is what the client says.
func (m Message) Data() []byte { return m.Raw[m.HeadLen : len(m.Raw)-int(m.EndLen)] }

// Framer cuts one client's stream. It serves one goroutine at a time and allocates nothing.
type Framer interface {
	// Next returns the first message in b. Its length is 0 when b does not hold enough to tell: call again with the same bytes
	// and more behind them. So are kept at most one message of the limit's length and what frames it. The flag is then Between
	// when b is not empty and no message has begun in it. Once a message is Malformed, so is all that follows it.
	Next(b []byte) Message
	// Rest returns what Next left in b when no more will come, the last of it flagged with why. Call it until the length is 0,
	// and Next no more.
	Rest(b []byte, why Flag) Message
	// Part cuts off all of b, which Next has left, as pieces of a message whose end is still to be found, by Next or another framer.
	// Call it until the length is 0, and then Memory. b may lack the end of what Next has left, but not what frames the message.
	Part(b []byte) Message
	// Memory is what a framer has to know beside the bytes that Next has left, for another to go on where this one is.
	Memory() int64
	// Recall has a new framer of the same Spec go on where another was when its Memory was m. Of an m that none has had, what
	// becomes of the message under way is undefined.
	Recall(m int64)
}

// Kind is a way to tell where a message ends.
type Kind uint8

const (
	// Line ends a message by LF or CRLF.
	Line Kind = iota
	// NUL ends a message by a NUL byte.
	NUL
	// Chunk takes for a message what one read gives: Next wants all that was read, and keeps nothing of it.
	Chunk
	// OctetCounted puts the length before a message, in decimal digits and a space; a message that begins otherwise is ended by
	// LF, CRLF or NUL (RFC 6587, 3.4.1 and 3.4.2).
	OctetCounted
	// LengthPrefixed puts the length before a message, as a binary number.
	LengthPrefixed
)

var kinds = [...]string{"line", "nul", "chunk", "octet-counted", "length-prefixed"}

// String returns the kind's name in the configuration.
func (k Kind) String() string { return kinds[k] }

// ParseKind returns the kind of that name.
func ParseKind(name string) (Kind, error) {
	if i := slices.Index(kinds[:], name); i >= 0 {
		return Kind(i), nil
	}
	return 0, fmt.Errorf("framing %q: want one of %q", name, kinds)
}

// Spec says how a client's bytes become messages.
type Spec struct {
	Kind Kind
	// Max is the longest message in bytes, framing not counted, 1 or more; a longer one is cut into pieces of Max bytes.
	Max int
	// LengthSize is how many bytes LengthPrefixed has before a message: 1, 2 or 4.
	LengthSize int
	// LittleEndian is the order of these bytes; false: network order.
	LittleEndian bool
}

// New returns a framer for one client.
func (s Spec) New() Framer {
	switch s.Kind {
	case NUL:
		return &delimited{max: s.Max, end: 0}
	case Chunk:
		return &chunk{max: s.Max}
	case OctetCounted:
		return &octetCounted{counted: counted{max: s.Max}, line: delimited{max: s.Max, end: '\n', cr: true, nul: true}}
	case LengthPrefixed:
		return &lengthPrefixed{counted: counted{max: s.Max}, size: s.LengthSize, little: s.LittleEndian}
	}
	return &delimited{max: s.Max, end: '\n', cr: true}
}

// part returns what is cut off b, head bytes of framing included, as a piece that more will follow.
func part(b []byte, head, max int) Message {
	if len(b) == 0 {
		return Message{}
	}
	return Message{Raw: b[:min(len(b), head+max)], HeadLen: uint8(head), Flag: Piece}
}

// remainder returns what is left when no more will come: head bytes of framing, and data that goes in pieces if it must.
func remainder(b []byte, head, max int, why Flag) Message {
	if len(b)-head > max {
		return Message{Raw: b[:head+max], HeadLen: uint8(head), Flag: Piece}
	}
	return Message{Raw: b, HeadLen: uint8(head), Flag: why}
}
