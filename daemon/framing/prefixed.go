package framing

import "encoding/binary"

// lengthPrefixed has a binary number before each message.
type lengthPrefixed struct {
	counted
	size   int
	little bool
}

// Next reads the length, and takes as much behind it.
func (l *lengthPrefixed) Next(b []byte) Message {
	switch {
	case l.left > 0:
		return l.cut(b, 0, l.left)
	case len(b) < l.size:
		return Message{}
	}
	return l.cut(b, l.size, l.length(b))
}

// Rest takes a length for framing only when it has come whole.
func (l *lengthPrefixed) Rest(b []byte, why Flag) Message {
	if l.left > 0 || len(b) < l.size { // a length that is not whole is data: nobody knows what it would have been
		return remainder(b, 0, l.max, why)
	}
	return remainder(b, l.size, l.max, why)
}

// Part implements Framer. A length that is not whole stays: it is not long.
func (l *lengthPrefixed) Part(b []byte) Message {
	switch {
	case l.left > 0:
		return l.part(b, 0, l.left)
	case len(b) <= l.size:
		return part(b, 0, l.max)
	}
	return l.part(b, l.size, l.length(b))
}

func (l *lengthPrefixed) length(b []byte) int64 {
	order := binary.ByteOrder(binary.BigEndian)
	if l.little {
		order = binary.LittleEndian
	}
	switch l.size {
	case 1:
		return int64(b[0])
	case 2:
		return int64(order.Uint16(b))
	}
	return int64(order.Uint32(b))
}
