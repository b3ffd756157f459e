package framing

// maxDigits bounds the length that octet counting puts before a message: a gigabyte, far more than anybody sends.
const maxDigits = 9

// octetCounted is the framing of syslog over TCP: `LEN SP MSG`, or, told apart by its first byte, a line.
type octetCounted struct {
	counted
	line delimited
	// lost is true once the client does not keep to the framing.
	lost bool
}

// Next tells by the first byte whether a line follows or a count. What is neither, and all behind it, is Malformed.
func (o *octetCounted) Next(b []byte) Message {
	switch {
	case o.lost:
		return o.malformed(b)
	case o.left > 0:
		return o.cut(b, 0, o.left)
	case len(b) == 0:
		return Message{}
	case o.line.cutting || b[0] == '<':
		return o.line.Next(b)
	}
	switch head, n := octetCount(b); {
	case head > 0:
		return o.cut(b, head, n)
	case n < 0:
		o.lost = true
		return o.malformed(b)
	}
	return Message{}
}

// Rest takes a count for framing only when it has come whole.
func (o *octetCounted) Rest(b []byte, why Flag) Message {
	if o.left > 0 || o.line.cutting || len(b) == 0 {
		return remainder(b, 0, o.max, why)
	}
	head, _ := octetCount(b) // 0 when it is not whole: then it is data, nobody knows what it would have been
	return remainder(b, head, o.max, why)
}

// Part goes by how the message has begun: as a line, or with a count.
func (o *octetCounted) Part(b []byte) Message {
	head, n := octetCount(b)
	switch {
	case len(b) == 0 || o.lost:
		return part(b, 0, o.max)
	case o.left > 0:
		return o.part(b, 0, o.left)
	case o.line.cutting || b[0] == '<' || head == 0:
		return o.line.Part(b)
	}
	return o.part(b, head, n)
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

func (o *octetCounted) malformed(b []byte) Message {
	m := remainder(b, 0, o.max, Malformed)
	m.Flag = Malformed
	return m
}

// octetCount reads `NONZERO-DIGIT *DIGIT SP` and returns how long it is and what it says. head is 0 when it has not come whole
// yet; n is -1 when b does not begin with one.
func octetCount(b []byte) (head int, n int64) {
	for i, c := range b {
		switch {
		case c == ' ' && i > 0:
			return i + 1, n
		case c < '0', c > '9', c == '0' && i == 0, i == maxDigits:
			return 0, -1
		}
		n = 10*n + int64(c-'0')
	}
	return 0, n
}
