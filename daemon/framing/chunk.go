package framing

// chunk takes all bytes that it is given for one message.
type chunk struct {
	max int
	// cutting is true between the first and the last piece.
	cutting bool
}

// Next takes all of b, in pieces if it is longer than max.
func (c *chunk) Next(b []byte) Message {
	m := remainder(b, 0, c.max, Whole)
	more := m.Flag == Piece
	if c.cutting && !more {
		m.Flag = Cut
	}
	c.cutting = more
	return m
}

// Part implements Framer. It is never needed, because Next leaves nothing.
func (c *chunk) Part(b []byte) Message { return part(b, 0, c.max) }

// Memory implements Framer: no message is continued by the next read.
func (c *chunk) Memory() int64 { return 0 }

// Recall implements Framer. It does nothing.
func (c *chunk) Recall(int64) {}

// Rest implements Framer. It is never needed, because Next leaves nothing.
func (c *chunk) Rest(b []byte, why Flag) Message { return remainder(b, 0, c.max, why) }
