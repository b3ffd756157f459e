package framing

// chunk takes all that it is given for a message.
type chunk struct {
	max int
	// cutting is true between the first and the last piece.
	cutting bool
}

// Next takes all of b, in pieces where it is longer than max.
func (c *chunk) Next(b []byte) Message {
	m := remainder(b, 0, c.max, Whole)
	more := m.Flag == Piece
	if c.cutting && !more {
		m.Flag = Cut
	}
	c.cutting = more
	return m
}

// Part is not called in earnest, as Next leaves nothing.
func (c *chunk) Part(b []byte) Message { return part(b, 0, c.max) }

// Memory implements Framer: nothing goes on over two reads.
func (c *chunk) Memory() int64 { return 0 }

// Recall has nothing to go on from.
func (c *chunk) Recall(int64) {}

// Rest has nothing to do: Next keeps nothing.
func (c *chunk) Rest(b []byte, why Flag) Message { return remainder(b, 0, c.max, why) }
