package framing

const (
	// maxDigits bounds the length before a message: a gigabyte, far more than any client sends.
	maxDigits = 9
	// maxBetween bounds how many bytes between messages wait for the next message.
	maxBetween = 32
)

// octetCounted is the framing of syslog over TCP (RFC 6587), as senders use it. A message that
// begins with a digit from 1 to 9, and has only digits before a space, is `LEN SP MSG`. Every other
// message is a line that ends with LF, CRLF or NUL. Line ends, NUL and spaces may occur between
// messages.
type octetCounted struct {
	counted
	line delimited
	// lost is true once the client has violated the framing.
	lost bool
}

// Next recognizes a count or a line by the first byte that is not between messages. A control
// character begins neither: from there on everything is Malformed.
func (o *octetCounted) Next(b []byte) Message {
	switch {
	case o.lost:
		return malformed(b, 0, o.max)
	case o.left > 0:
		return o.cut(b, 0, o.left)
	case o.line.cutting:
		return o.line.Next(b)
	case len(b) == 0:
		return Message{}
	}
	start, begun := between(b)
	switch {
	case !begun && start < maxBetween:
		return Message{Flag: Between}
	case !begun:
		return empty(b[:start])
	}
	head, n := octetCount(b[start:])
	switch {
	case head > 0:
		return o.cut(b, start+head, n)
	case n == 0: // the count is not complete
		return Message{}
	case isControl(b[start]):
		o.lost = true
		return malformed(b, start, o.max)
	}
	start = lineStart(b, start)
	m := o.line.Next(b[start:])
	return behind(b, start, m)
}

// Rest takes a count for framing only if it is complete. Bytes after the last message are no
// message.
func (o *octetCounted) Rest(b []byte, why Flag) Message {
	if o.left > 0 || o.line.cutting || len(b) == 0 {
		return remainder(b, 0, o.max, why)
	}
	start, begun := between(b)
	if !begun {
		return alone(b[:start])
	}
	// 0: not complete. Then it is data, as it may be the start of a line.
	head, _ := octetCount(b[start:])
	if head == 0 {
		start = lineStart(b, start)
	}
	m := remainder(b, start+head, o.max, why)
	o.line.cutting = m.Flag == Piece // the next bytes belong to the same message
	return m
}

// Part cuts by the beginning of the message: a line, or a count.
func (o *octetCounted) Part(b []byte) Message {
	switch {
	case len(b) == 0 || o.lost:
		return part(b, 0, o.max)
	case o.left > 0:
		return o.part(b, 0, o.left)
	case o.line.cutting:
		return o.line.Part(b)
	}
	start, begun := between(b)
	if !begun {
		return alone(b[:start])
	}
	if head, n := octetCount(b[start:]); head > 0 {
		return o.part(b, start+head, n)
	}
	start = lineStart(b, start)
	return behind(b, start, o.line.Part(b[start:]))
}

// Memory implements Framer: the number of bytes that are left of a message; -1 in the middle of a
// line.
func (o *octetCounted) Memory() int64 {
	if o.line.cutting {
		return -1
	}
	return o.left
}

// Recall implements Framer.
func (o *octetCounted) Recall(m int64) {
	o.counted.Recall(m)
	o.line.cutting = m < 0
}

// malformed cuts off bytes that are no message, after head bytes of framing.
func malformed(b []byte, head, max int) Message {
	m := remainder(b, head, max, Malformed)
	m.Flag = Malformed
	return m
}

// behind puts the first head bytes of b before message m, which follows them.
func behind(b []byte, head int, m Message) Message {
	if m.Len() > 0 {
		m.Raw, m.HeadLen = b[:head+m.Len()], uint8(head)
	}
	return m
}

// alone returns bytes between messages that no message follows.
func alone(gap []byte) Message { return Message{Raw: gap, HeadLen: uint8(len(gap)), Flag: Between} }

// empty returns a message without data that takes gap, the bytes between messages, if it is too
// long to wait for the next message. Spaces at the end are not taken if they may begin a line.
func empty(gap []byte) Message {
	if n := lineStart(gap, len(gap)); n > 0 {
		gap = gap[:n]
	}
	return Message{Raw: gap, HeadLen: uint8(len(gap) - 1), EndLen: 1}
}

// between returns how many of the first bytes of b, but at most maxBetween, are between messages,
// and whether other bytes follow.
func between(b []byte) (n int, begun bool) {
	window := b[:min(len(b), maxBetween)]
	for i, c := range window {
		switch c {
		case '\n', '\r', 0, ' ':
		default:
			return i, true
		}
	}
	return len(window), false
}

// lineStart returns where a line begins whose first byte other than a space is at start. Spaces
// before it are part of the line, because indented lines continue the previous one; but not if the
// line begins with '<', as a syslog message does.
func lineStart(b []byte, start int) int {
	if start < len(b) && b[start] == '<' {
		return start
	}
	for start > 0 && b[start-1] == ' ' {
		start--
	}
	return start
}

// isControl reports whether no text begins with c. A tab is allowed: it often begins a
// continuation.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// octetCount reads `NONZERO-DIGIT *DIGIT SP` and returns its length and its value. head is 0 if it
// is not complete; then n is -1 if b, which is not empty, does not begin with a count, and 0
// otherwise.
func octetCount(b []byte) (head int, n int64) {
	var count int64
	for i, c := range b {
		switch {
		case c == ' ' && i > 0:
			return i + 1, count
		case c < '0', c > '9', c == '0' && i == 0, i == maxDigits:
			return 0, -1
		}
		count = 10*count + int64(c-'0')
	}
	return 0, 0
}
