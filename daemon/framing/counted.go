package framing

// counted cuts messages whose length precedes them.
type counted struct {
	max int
	// left is how many bytes of a message longer than max have not been cut off yet; 0 between
	// messages.
	left int64
}

// cut returns the next piece of a message of which n bytes are left, after head bytes of framing. A
// piece is cut off only when more bytes follow it, so that Rest always has bytes to mark if the
// message stays unfinished.
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

// part is Part for a message of which n bytes are left, after head bytes of framing.
func (c *counted) part(b []byte, head int, n int64) Message {
	m := part(b, head, c.max)
	c.left = n - int64(len(m.Data()))
	return m
}

// Memory implements Framer: the number of bytes that are left of a message.
func (c *counted) Memory() int64 { return c.left }

// Recall implements Framer.
func (c *counted) Recall(m int64) { c.left = max(m, 0) }
