package framing

import "encoding/binary"

// lengthPrefixed cuts messages that follow their length, a binary number.
type lengthPrefixed struct {
	counted
	size   int
	little bool
}

// Next reads the length, and takes that many bytes after it.
func (l *lengthPrefixed) Next(b []byte) Message {
	switch {
	case l.left > 0:
		return l.cut(b, 0, l.left)
	case len(b) < l.size:
		return Message{}
	}
	return l.cut(b, l.size, l.length(b))
}

// Rest takes a length for framing only if it is complete.
func (l *lengthPrefixed) Rest(b []byte, why Flag) Message {
	if l.left > 0 || len(b) < l.size { // an incomplete length is data
		return remainder(b, 0, l.max, why)
	}
	return remainder(b, l.size, l.max, why)
}

// Part implements Framer.
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
