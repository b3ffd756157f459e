package framing

const (
	// maxDigits bounds the length that octet counting puts before a message: a gigabyte, far more than anybody sends.
	maxDigits = 9
	// maxBetween bounds what may wait for a message that it is the head of.
	maxBetween = 32
)

// octetCounted is the framing of syslog over TCP (RFC 6587), as senders use it. What begins with a digit from 1 to 9, and has no
// more than digits before a space, is `LEN SP MSG`. All else is a line, which LF, CRLF or NUL ends. Line ends, NUL and spaces may
// stand between messages.
type octetCounted struct {
	counted
	line delimited
	// lost is true once the client does not keep to the framing.
	lost bool
}

// Next tells by the first byte that stands not between messages whether a count follows or a line. What begins with a control
// character is neither, and Malformed with all behind it.
func (o *octetCounted) Next(b []byte) Message {
	switch {
	case o.lost:
		return o.malformed(b, 0)
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
	case n == 0: // the count has not come whole
		return Message{}
	case isControl(b[start]):
		o.lost = true
		return o.malformed(b, start)
	}
	start = lineStart(b, start)
	m := o.line.Next(b[start:])
	return behind(b, start, m)
}

// Rest takes a count for framing only when it has come whole, and what stands behind the last message for no message.
func (o *octetCounted) Rest(b []byte, why Flag) Message {
	if o.left > 0 || o.line.cutting || len(b) == 0 {
		return remainder(b, 0, o.max, why)
	}
	start, begun := between(b)
	if !begun {
		return alone(b[:start])
	}
	head, _ := octetCount(b[start:]) // 0 when it is not whole: then it is data, nobody knows what it would have been
	if head == 0 {
		start = lineStart(b, start)
	}
	m := remainder(b, start+head, o.max, why)
	o.line.cutting = m.Flag == Piece // what is left is no message of its own
	return m
}

// Part goes by how the message has begun: as a line, or with a count.
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

// Memory implements Framer: it is how much is left of a message, below 0 in the middle of a line.
func (o *octetCounted) Memory() int64 {
	if o.line.cutting {
		return -1
	}
	return o.left
}

// Recall tells what is left of a message, or that it is a line.
func (o *octetCounted) Recall(m int64) {
	o.counted.Recall(m)
	o.line.cutting = m < 0
}

func (o *octetCounted) malformed(b []byte, head int) Message {
	m := remainder(b, head, o.max, Malformed)
	m.Flag = Malformed
	return m
}

// behind puts the first head bytes of b before a message that was cut off behind them.
func behind(b []byte, head int, m Message) Message {
	if m.Len() > 0 {
		m.Raw, m.HeadLen = b[:head+m.Len()], uint8(head)
	}
	return m
}

// alone is gap, which stands between messages, without the message that it is the head of.
func alone(gap []byte) Message { return Message{Raw: gap, HeadLen: uint8(len(gap)), Flag: Between} }

// empty makes a message that says nothing of gap, which stands between messages and is too long to wait for the next: of all that
// is before a line's first spaces.
func empty(gap []byte) Message {
	if n := lineStart(gap, len(gap)); n > 0 {
		gap = gap[:n]
	}
	return Message{Raw: gap, HeadLen: uint8(len(gap) - 1), EndLen: 1}
}

// between returns how many of the first bytes of b, maxBetween at most, may stand between messages, and whether something else
// follows.
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

// lineStart returns where a line begins of which the first byte that is no space stands at start. Spaces before it are part of
// it, as where a line goes on with the one before, but not where it begins as a message of its own.
func lineStart(b []byte, start int) int {
	if start < len(b) && b[start] == '<' {
		return start
	}
	for start > 0 && b[start-1] == ' ' {
		start--
	}
	return start
}

// isControl reports whether no text begins with c. A tab is what many continue a text with.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// octetCount reads `NONZERO-DIGIT *DIGIT SP` and returns how long it is and what it says. head is 0 when it has not come whole
// yet; n is -1 when b, which is not empty, does not begin with one.
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
