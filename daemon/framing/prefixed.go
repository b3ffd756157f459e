package framing

// MaxLengthOffset is how many bytes may stand in front of a length. HeadLen has room for them.
const MaxLengthOffset = 64

// lengthPrefixed cuts messages that follow their length, a binary number.
type lengthPrefixed struct {
	counted
	// offset is how many bytes stand in front of the length.
	offset int
	size   int
	// adjust is what is added to the length to get the bytes that follow it.
	adjust int
	little bool
	// lost is true once a length was too small for what it counts.
	lost bool
}

// Next reads the length, and takes that many bytes after it.
func (l *lengthPrefixed) Next(b []byte) Message {
	head := l.offset + l.size
	switch {
	case l.lost:
		return malformed(b, 0, l.max)
	case l.left > 0:
		return l.cut(b, 0, l.left)
	case len(b) < head:
		return Message{}
	}
	n := l.length(b)
	if n < 0 {
		l.lost = true
		return malformed(b, 0, l.max)
	}
	return l.cut(b, head, n)
}

// Rest takes a length for framing only if it is complete.
func (l *lengthPrefixed) Rest(b []byte, why Flag) Message {
	head := l.offset + l.size
	if l.lost || l.left > 0 || len(b) < head { // an incomplete length is data
		return remainder(b, 0, l.max, why)
	}
	return remainder(b, head, l.max, why)
}

// Part implements Framer.
func (l *lengthPrefixed) Part(b []byte) Message {
	head := l.offset + l.size
	switch {
	case l.left > 0:
		return l.part(b, 0, l.left)
	case l.lost, len(b) <= head:
		return part(b, 0, l.max)
	}
	return l.part(b, head, l.length(b))
}

// length returns how many bytes follow the length that is in b; less than 0 is malformed.
func (l *lengthPrefixed) length(b []byte) (n int64) {
	field := b[l.offset : l.offset+l.size]
	for i := range field {
		c := field[i]
		if l.little {
			c = field[len(field)-1-i]
		}
		n = n<<8 | int64(c)
	}
	return n + int64(l.adjust)
}
