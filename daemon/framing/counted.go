package framing

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

// Recall tells how much is left of a message.
func (c *counted) Recall(m int64) { c.left = max(m, 0) }
