package framing

// chunk takes all that it is given for a message.
type chunk struct {
	max int
	// cutting is true between the first and the last piece.
	cutting bool
}

func (c *chunk) Next(b []byte) Message {
	m := remainder(b, 0, c.max, Whole)
	if c.cutting {
		m.Flag = Cut
	}
	c.cutting = m.More
	return m
}

// Rest has nothing to do: Next keeps nothing.
func (c *chunk) Rest(b []byte, why Flag) Message { return remainder(b, 0, c.max, why) }
