package framing

import "encoding/binary"

// counted cuts messages whose length is known before they come.
type counted struct {
	max int
	// left is how much of a message that is longer than max has not been cut off yet; 0 between messages.
	left int64
}

// cut returns the next piece of a message of which n bytes are left, behind head bytes of framing. A piece is cut off once
// something follows it: so there is always a rest to say that a message was left unfinished.
func (c *counted) cut(b []byte, head int, n int64) Message {
	have := len(b) - head
	switch {
	case n > int64(c.max) && have > c.max:
		c.left = n - int64(c.max)
		return Message{Raw: b[:head+c.max], HeadLen: uint8(head), Flag: Piece}
	case n > int64(have):
		return Message{}
	}
	flag := Whole
	if c.left > 0 {
		flag = Cut
	}
	c.left = 0
	return Message{Raw: b[:head+int(n)], HeadLen: uint8(head), Flag: flag}
}

// part is Part for a message of which n bytes are left, behind head bytes of framing.
func (c *counted) part(b []byte, head int, n int64) Message {
	m := part(b, head, c.max)
	c.left = n - int64(len(m.Data()))
	return m
}

// Memory implements Framer: it is how much is left of a message.
func (c *counted) Memory() int64 { return c.left }

// Recall implements Framer.
func (c *counted) Recall(m int64) { c.left = max(m, 0) }

// lengthPrefixed has a binary number before each message.
type lengthPrefixed struct {
	counted
	size   int
	little bool
}

func (l *lengthPrefixed) Next(b []byte) Message {
	switch {
	case l.left > 0:
		return l.cut(b, 0, l.left)
	case len(b) < l.size:
		return Message{}
	}
	return l.cut(b, l.size, l.length(b))
}

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
